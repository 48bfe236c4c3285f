"""Teach a package what it may say of its own masks: ``python -m training.calibrate PACKAGE PATH``.

``training.fit`` does so on the held-back cases. A hospital does it again on its own cases, since
a calibration holds for images like those that it was fitted on.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from seg.commands import exit_status
from seg.errors import ConfigError
from seg.metrics import SelfAssessment
from seg.model_package import CARD_FILE, ModelPackage, write_card
from seg.predict import add_backend_options
from training.evaluate import evaluate, opened


def recalibrate(package: ModelPackage, assessment: SelfAssessment) -> None:
    """Write the assessment into ``model.json``, whole or not at all.

    Raises:
        ConfigError: the package cannot be written.
    """
    card = package.card.model_copy(update={"quality": assessment})
    try:
        write_card(package.path, card)
    except OSError as error:
        path = package.path / CARD_FILE
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def in_words(assessment: SelfAssessment) -> str:
    """The assessment for a terminal."""
    width = max(len("class"), *(len(name) for name in assessment.dice), 0)
    lines = [f"{'class':{width}}  predicted Dice is off by  the mean Dice would be  cases"]
    for name, each in assessment.dice.items():
        errors = (each.expected_error, each.error_of_the_mean)
        told, mean = ("-" if error is None else f"{error:.3f}" for error in errors)
        lines.append(f"{name:{width}}  {told:24}  {mean:22}  {each.cases:5}")
    if not assessment.dice:
        lines = ["too few cases to predict a Dice from"]
    lines.append(_about_temperature(assessment))
    return "\n".join(lines)


def _about_temperature(assessment: SelfAssessment) -> str:
    if assessment.ece is None:
        return "no temperature: too few cases to fit one"
    before, after = assessment.ece
    errors = f"calibration error {before:.4f} without it, {after:.4f} with it"
    if after < before:
        return f"temperature {assessment.temperature:.2f}: {errors}"
    return f"no temperature, since a fitted one does not help: {errors}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 where all went well, 2 where a user must repair something."""
    return exit_status(partial(_run, _parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    predictor, dataset, cases = opened(options)
    assessment = evaluate(predictor, dataset, cases).quality
    assert assessment is not None  # evaluate always gives one
    fitted_on = f"{len(cases)} {options.split} cases of {dataset.name}"
    assessment = assessment.model_copy(update={"fitted_on": fitted_on})
    print(in_words(assessment))  # noqa: T201
    recalibrate(predictor.package, assessment)
    print(f"written to {options.package / CARD_FILE}")  # noqa: T201
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.calibrate",
        description="Fit what a model package says of its own masks, on cases with a reference.",
    )
    parser.add_argument("package", type=Path, metavar="PACKAGE", help="folder with model.json")
    parser.add_argument("path", type=Path, metavar="PATH", help="folder of the dataset")
    parser.add_argument(
        "--split",
        choices=("train", "test"),
        default="test",
        help="cases to fit on, which the model was not trained on (default: test)",
    )
    add_backend_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
