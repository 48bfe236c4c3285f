"""Teach a package what it may say of its own masks: ``python -m training.calibrate PACKAGE PATH``.

``training.fit`` does so on the held-back cases. A hospital does it again on its own cases, since
a calibration holds for images like those that it was fitted on.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from seg.commands import exit_status, path_named
from seg.predict.options import add_backend_options
from seg.verbs import called
from training.evaluation.options import add_split_option


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 where all went well, 2 where a user must repair something."""
    return exit_status(partial(_run, _parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    # readers of images, SciPy and onnxruntime take seconds: only what is asked for waits for them
    from seg.model_package import CARD_FILE, write_card
    from training.evaluation.command_line import open_for_scoring, tell
    from training.evaluation.evaluator import evaluate
    from training.evaluation.score_files import own_outlines_in_words
    from training.evaluation.trust.recalibration import recalibrate, recalibration_in_words
    from training.packaging.faster_ways import measured_on, ways_in_words

    if options.precision == "auto" and options.variant is None:
        options.precision = "float32"  # what holds wherever the package is served
    predictor, dataset, chosen = open_for_scoring(options)
    evaluation = evaluate(predictor, dataset, chosen.cases, degrade=True)
    tell(own_outlines_in_words(evaluation))
    assessment = evaluation.quality
    assert assessment is not None  # evaluate always gives one
    judges = sum(not case.began_with_it for case in evaluation.cases)
    fitted_on = f"{judges} {chosen.split} cases of {dataset.name}"
    assessment = assessment.model_copy(update={"fitted_on": fitted_on})
    print(recalibration_in_words(assessment))  # noqa: T201
    package = recalibrate(predictor.package, assessment)
    card = measured_on(package, dataset, chosen.cases, with_overlaps=options.measure_overlap)
    write_card(package.path, card)
    if card.faster_ways:
        print("\n".join(ways_in_words(card, card.faster_ways)))  # noqa: T201
    print(f"written to {options.package / CARD_FILE}")  # noqa: T201
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=called("training.calibrate"),
        description="Fit what a model package says of its own masks, on cases with a reference.",
    )
    parser.add_argument(
        "package", type=path_named, metavar="PACKAGE", help="folder with model.json"
    )
    parser.add_argument("path", type=path_named, metavar="PATH", help="folder of the dataset")
    add_split_option(parser, "fit on")
    parser.add_argument(
        "--measure-overlap",
        action="store_true",
        help="also write the smallest overlap of windows that loses nothing on these cases "
        "(default: the package keeps its own)",
    )
    add_backend_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
