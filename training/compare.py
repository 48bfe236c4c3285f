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
from training.dataset import load_dataset
from training.evaluation.command_line import positive
from training.evaluation.comparison import compare, comparison_table
from training.evaluation.evaluator import default_tolerance, evaluate
from training.evaluation.score_files import read_metrics
from training.evaluation.scores import Evaluation
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
    return [
        _evaluation(package, options, tolerance) if package else read_metrics(path)
        for path, package in zip(paths, packages, strict=True)
    ]


def _evaluation(
    package: ModelPackage, options: argparse.Namespace, tolerance: float | None
) -> Evaluation:
    dataset = load_dataset(options.path)
    cases = dataset.train if options.split == "train" else dataset.test
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
    add("--split", choices=("train", "test"), default="test", help="of PATH (default: test)")
    add("--tolerance", type=positive, metavar="MM",
        help="of surface Dice, in mm, or in pixels where the images state no spacing")  # fmt: skip
    add("--out", type=Path, default=Path("comparison.json"), metavar="FILE",
        help="differences as JSON, with a picture beside (default: comparison.json)")  # fmt: skip
    add("--provider", choices=PROVIDERS, default="auto",
        help="where the networks run (default: a CUDA device where there is one)")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
