"""Two packages on the same cases: ``python -m training.compare A B PATH``.

A and B are packages, or ``metrics.json`` files of evaluations that were made before.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from seg.commands import exit_status, path_named, positive
from seg.errors import ConfigError
from seg.files import replace_file
from seg.names import PROVIDERS
from seg.verbs import called
from training.evaluation.options import add_split_option


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 where all went well, 2 where a user must repair something."""
    return exit_status(partial(_run, _parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    # readers of images, SciPy and onnxruntime take seconds: only what is asked for waits for them
    from training.evaluation.comparison import compare, comparison_table
    from training.evaluation.side_by_side import evaluations_of
    from training.reports.comparison_picture import draw_comparison

    a, b = evaluations_of(options)
    comparison = compare(a, b, (str(options.a), str(options.b)))
    picture = options.out.with_suffix(".png")
    _write(options.out, (comparison.model_dump_json(indent=2) + "\n").encode())
    _write(picture, draw_comparison(a, b, comparison))
    print(comparison_table(comparison))  # noqa: T201
    print(f"written to {options.out}, {picture}")  # noqa: T201
    return 0


def _write(path: Path, content: bytes) -> None:
    try:
        replace_file(path, content)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=called("training.compare"),
        description="Whether two model packages differ on the same cases, and how far that can be "
        "told: mean differences with bootstrap intervals, and Wilcoxon's signed-rank test.",
    )
    add = parser.add_argument
    add("a", type=path_named, metavar="A", help="package, or a metrics.json")
    add("b", type=path_named, metavar="B", help="package, or a metrics.json")
    add(
        "path",
        type=path_named,
        nargs="?",
        metavar="PATH",
        help="folder of the dataset, for packages",
    )
    add_split_option(parser, "compare on")
    add("--tolerance", type=positive, metavar="MM",
        help="of surface Dice, in mm, or in pixels where the images state no spacing")  # fmt: skip
    add("--out", type=path_named, default=Path("comparison.json"), metavar="FILE",
        help="differences as JSON, with a picture beside (default: comparison.json)")  # fmt: skip
    add("--provider", choices=PROVIDERS, default="auto",
        help="where the networks run (default: a CUDA device where there is one)")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
