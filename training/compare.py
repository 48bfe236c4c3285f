"""Two packages on the same cases: ``python -m training.compare A B PATH``.

A and B are packages, or ``metrics.json`` files of evaluations that were made before.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from seg.commands import exit_status
from seg.errors import ConfigError
from seg.files import replace_file
from seg.inference import PROVIDERS, Predictor, load_backend
from seg.model_package import ModelPackage
from training.dataset.matched_classes import matched
from training.evaluation.case_choice import choose_cases
from training.evaluation.command_line import add_split_option, dataset_for, positive
from training.evaluation.comparison import compare, comparison_table
from training.evaluation.evaluator import default_tolerance, evaluate
from training.evaluation.score_files import read_metrics
from training.evaluation.scores import Evaluation, renamed_classes
from training.reports.comparison_picture import draw_comparison


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 where all went well, 2 where a user must repair something."""
    return exit_status(partial(_run, _parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    a, b = _evaluations(options)
    comparison = compare(a, b, (str(options.a), str(options.b)))
    picture = options.out.with_suffix(".png")
    _write(options.out, (comparison.model_dump_json(indent=2) + "\n").encode())
    _write(picture, draw_comparison(a, b, comparison))
    print(comparison_table(comparison))  # noqa: T201
    print(f"written to {options.out}, {picture}")  # noqa: T201
    return 0


def _evaluations(options: argparse.Namespace) -> list[Evaluation]:
    paths = (options.a, options.b)
    packages = [None if path.is_file() else ModelPackage.load(path) for path in paths]
    tolerance = options.tolerance
    known = [package for package in packages if package]
    if known and options.path is None:
        raise ConfigError("packages are compared on a dataset; name its folder as third argument")
    if tolerance is None:  # that of the file, or of the first package, for both
        written = [read_metrics(path).tolerance for path in paths if path.is_file()]
        tolerance = next((each for each in written if each), None)
        tolerance = tolerance or (default_tolerance(known[0].card) if known else None)
    unseen_by_all = _cases_for_all(known, options)
    evaluations = [
        _evaluation(package, options, tolerance, unseen_by_all) if package else read_metrics(path)
        for path, package in zip(paths, packages, strict=True)
    ]
    if len(known) == len(paths):  # a class may have another name in the second
        ours, theirs = (package.card.classes[1:] for package in known)
        places = matched(theirs, ours)
        names = {
            info.name: ours[at].name
            for info, at in zip(theirs, places, strict=True)
            if at is not None
        }
        evaluations[1] = renamed_classes(evaluations[1], names)
    return evaluations


def _cases_for_all(packages: Sequence[ModelPackage], options: argparse.Namespace) -> set[str]:
    """Names of the cases that all packages are scored on."""
    names = [
        {
            case.name
            for case in choose_cases(
                package.card, dataset_for(package.card, options.path), options.split
            ).cases
        }
        for package in packages
    ]
    return set.intersection(*names) if names else set()


def _evaluation(
    package: ModelPackage,
    options: argparse.Namespace,
    tolerance: float | None,
    names: set[str],
) -> Evaluation:
    dataset = dataset_for(package.card, options.path)
    cases = [case for case in dataset.cases if case.name in names]
    predictor = Predictor(package, load_backend(package, provider=options.provider))
    return evaluate(predictor, dataset, cases, tolerance=tolerance)


def _write(path: Path, content: bytes) -> None:
    try:
        replace_file(path, content)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.compare",
        description="Whether two model packages differ on the same cases, and how far that can be "
        "told: mean differences with bootstrap intervals, and Wilcoxon's signed-rank test.",
    )
    add = parser.add_argument
    add("a", type=Path, metavar="A", help="package, or a metrics.json")
    add("b", type=Path, metavar="B", help="package, or a metrics.json")
    add("path", type=Path, nargs="?", metavar="PATH", help="folder of the dataset, for packages")
    add_split_option(parser, "compare on")
    add("--tolerance", type=positive, metavar="MM",
        help="of surface Dice, in mm, or in pixels where the images state no spacing")  # fmt: skip
    add("--out", type=Path, default=Path("comparison.json"), metavar="FILE",
        help="differences as JSON, with a picture beside (default: comparison.json)")  # fmt: skip
    add("--provider", choices=PROVIDERS, default="auto",
        help="where the networks run (default: a CUDA device where there is one)")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
