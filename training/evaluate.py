"""Score whole images: ``python -m training.evaluate PACKAGE PATH``.

The masks come from the same ``Predictor`` that serves, so a Dice here is the Dice that a user of
the service gets. Beside every score stands the floor: what plain thresholding reaches.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from seg.commands import exit_status, path_named, positive
from seg.predict.options import add_backend_options
from seg.verbs import called
from training.evaluation.options import add_split_option


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 where all went well, 2 where a user must repair something."""
    return exit_status(partial(_run, _parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    # readers of images, SciPy and onnxruntime take seconds: only what is asked for waits for them
    from training.evaluation.command_line import open_for_scoring, tell
    from training.evaluation.evaluator import evaluate
    from training.evaluation.score_files import summary_table, write_metrics, write_rows
    from training.reports.evaluation_report import Scored, report_beside, write_evaluation_report

    predictor, dataset, chosen = open_for_scoring(options, mirror=options.mirror)
    with _folder_for(options.predictions) as predictions:
        evaluation = evaluate(
            predictor,
            dataset,
            chosen.cases,
            predictions=predictions,
            tolerance=options.tolerance,
            tell=tell,
        )
        print(summary_table(evaluation))  # noqa: T201
        written = [options.out, options.out.with_suffix(".csv"), report_beside(options.out)]
        write_metrics(evaluation, written[0])
        write_rows(evaluation, written[1])
        write_evaluation_report(
            written[2],
            Scored(
                predictor.package, dataset, evaluation, predictions, chosen.split, options.mirror
            ),
        )
    print("written to " + ", ".join(map(str, written)))  # noqa: T201
    return 0


@contextmanager
def _folder_for(predictions: Path | None) -> Iterator[Path]:
    if predictions is not None:
        yield predictions
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=called("training.evaluate"),
        description="Score a model package on a dataset, whole images as the service sees them.",
    )
    parser.add_argument(
        "package", type=path_named, metavar="PACKAGE", help="folder with model.json"
    )
    parser.add_argument("path", type=path_named, metavar="PATH", help="folder of the dataset")
    add_split_option(parser, "score")
    parser.add_argument(
        "--out",
        type=path_named,
        default=Path("metrics.json"),
        metavar="FILE",
        help="scores as JSON; the CSV and the report go beside it (default: metrics.json)",
    )
    parser.add_argument(
        "--mirror", action="store_true", help="average over all mirrors of every patch"
    )
    parser.add_argument(
        "--tolerance",
        type=positive,
        metavar="MM",
        help="of surface Dice, in mm, or in pixels where the images state no spacing (default: two "
        "voxels along the finest axis of the model's grid)",
    )
    parser.add_argument(
        "--predictions",
        type=path_named,
        metavar="DIR",
        help="keep the predicted masks in this folder",
    )
    add_backend_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
