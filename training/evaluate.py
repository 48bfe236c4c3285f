"""Score whole images: ``python -m training.evaluate PACKAGE PATH``.

The masks come from the same ``Predictor`` that serves, so a Dice here is the Dice that a user of
the service gets. Beside every score stands the floor: what plain thresholding reaches.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from seg.commands import exit_status
from seg.errors import ConfigError, DatasetError, ImageError
from seg.images import MASK_FORMATS, Image, Mask, write_mask
from seg.inference import Predictor, load_backend
from seg.inference.blending import Slab
from seg.inference.predictor import Observe
from seg.model_package import ModelCard, ModelPackage
from seg.predict import add_backend_options
from training.calibration import CalibrationMeter, Counts
from training.dataset import Case, Dataset, load_dataset
from training.decisions import Decisions
from training.floor import choose_thresholding
from training.measure import calibration_error, evaluation_of, measure_case, predicted_regions
from training.regions import foreground_name, regions
from training.score_files import read_metrics, summary_table, write_metrics, write_rows
from training.scores import CaseScore, Evaluation, RegionScore
from training.self_assessment import CaseWatcher, Told, assess

__all__ = [
    "Evaluation",
    "evaluate",
    "prediction_file",
    "read_metrics",
    "summary_table",
    "write_metrics",
]

PREDICTION_FORMATS = {2: "png", 3: "nifti"}
"""Format of the masks that an evaluation keeps, by number of dimensions."""
VOXELS_OF_TOLERANCE = 2
"""People who draw the same outline twice differ by about as much."""


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    cases: Sequence[Case],
    *,
    predictions: Path | None = None,
    tolerance: float | None = None,
    progress: bool = True,
) -> Evaluation:
    """Scores of whole images, one in memory at a time.

    Args:
        predictor: of a package with the dataset's classes.
        dataset: whose files are read; its training cases choose the thresholds of the floor.
        cases: to score.
        predictions: folder for the predicted masks, one file a case (``prediction_file``).
        tolerance: of surface Dice, in mm, or in pixels where an image states no spacing; None for
            ``default_tolerance``.
        progress: show a bar where there is a terminal.

    Raises:
        DatasetError: package and dataset do not fit, or a case cannot be read.
        BackendError: the network failed.
    """
    card = predictor.package.card
    _check_fit(card, dataset, cases)
    thresholding = choose_thresholding(dataset, dataset.train) if dataset.train else None
    found = regions(dataset.legend)
    together = foreground_name(dataset.legend)
    tolerance = tolerance or default_tolerance(card)
    scored: list[CaseScore] = []
    calibration: dict[str, Counts] = {}
    told: list[Told] = []
    for case in tqdm(cases, desc="evaluating", unit="case", disable=None if progress else True):
        image, reference = dataset.read(case)
        meter = CalibrationMeter(card, found, reference)
        watcher = CaseWatcher(card)
        decisions = Decisions(card, reference)
        mask = _predict(predictor, case, image, (meter, watcher, decisions))
        told.append(watcher.told(reference, dataset.legend))
        if predictions is not None:
            _keep(mask, card, prediction_file(predictions, case.name, mask.dims))
        floors = thresholding.dice(image, reference) if thresholding else {}
        said = predicted_regions(mask, reference, found) | decisions.regions
        scores = measure_case(said, reference, found, tolerance, meter.regions, floors)
        scored.append(_case_score(case.name, scores, together, image, meter))
        for name, counts in meter.regions.items():
            calibration[name] = calibration.get(name, np.zeros_like(counts)) + counts
    quality = assess(
        told,
        {c.name: [each.classes[c.name].dice for each in scored] for c in card.classes[1:]},
        card.task,
        fitted_on=f"{len(cases)} cases of {dataset.name}, on which the scores were taken too",
    )
    evaluation = evaluation_of(scored, list(found), calibration, tolerance)
    return evaluation.model_copy(update={"quality": quality})


def _case_score(
    case: str,
    scores: dict[str, RegionScore],
    together: str | None,
    image: Image,
    meter: CalibrationMeter,
) -> CaseScore:
    foreground = scores.pop(together) if together else None
    return CaseScore(
        case=case,
        classes=scores,
        foreground=foreground,
        unit="mm" if image.spacing else "pixels",
        ece=calibration_error(meter.winner),
    )


def default_tolerance(card: ModelCard) -> float:
    """Two voxels along the finest axis of the model's grid, in mm; 2 pixels where it has none."""
    known = [mm for mm in card.input.preprocessing.spacing or () if mm is not None]
    spacing = known or [low for low, _ in card.fingerprint.spacing or ()]
    return float(f"{VOXELS_OF_TOLERANCE * min(spacing, default=1.0):.2g}")


def prediction_file(folder: Path, case: str, dims: int) -> Path:
    """Where ``evaluate`` keeps the predicted mask of a case."""
    return folder / (case + MASK_FORMATS[PREDICTION_FORMATS[dims]].suffix)


def _check_fit(card: ModelCard, dataset: Dataset, cases: Sequence[Case]) -> None:
    if not cases:
        raise DatasetError("there is no case to evaluate; name a split that has cases")
    ours, theirs = ([c.name for c in each.classes[1:]] for each in (card, dataset))
    if ours != theirs:
        raise DatasetError(
            f"the package knows the classes {', '.join(ours)}, the dataset has "
            f"{', '.join(theirs)}; evaluate on a dataset with the same classes in the same order"
        )
    if card.task != dataset.legend.task:
        kinds = {"exclusive": "exclude each other", "regions": "overlap"}
        raise DatasetError(
            f"the package's classes {kinds[card.task]}, those of the dataset "
            f"{kinds[dataset.legend.task]}; evaluate on a dataset of the same kind"
        )


def _predict(predictor: Predictor, case: Case, image: Image, observers: Sequence[Observe]) -> Mask:
    def observe(slab: Slab, labels: UInt8[np.ndarray, "*slab"]) -> None:
        for each in observers:
            each(slab, labels)

    try:
        return predictor.predict(image, observe=observe)
    except ImageError as error:
        raise DatasetError(f"case {case.name}: {error}") from error


def _keep(mask: Mask, card: ModelCard, path: Path) -> None:
    try:
        write_mask(path, mask, PREDICTION_FORMATS[mask.dims], card.classes)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 where all went well, 2 where a user must repair something."""
    return exit_status(partial(_run, _parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    # a page is drawn with what this module computes
    from training.evaluation_report import Scored, report_beside, write_evaluation_report

    predictor, dataset, cases = opened(options, mirror=options.mirror)
    with _folder_for(options.predictions) as predictions:
        evaluation = evaluate(
            predictor, dataset, cases, predictions=predictions, tolerance=options.tolerance
        )
        print(summary_table(evaluation))  # noqa: T201
        written = [options.out, options.out.with_suffix(".csv"), report_beside(options.out)]
        write_metrics(evaluation, written[0])
        write_rows(evaluation, written[1])
        write_evaluation_report(
            written[2],
            Scored(
                predictor.package, dataset, evaluation, predictions, options.split, options.mirror
            ),
        )
    print("written to " + ", ".join(map(str, written)))  # noqa: T201
    return 0


def opened(
    options: argparse.Namespace, *, mirror: bool = False
) -> tuple[Predictor, Dataset, Sequence[Case]]:
    """What ``package``, ``path``, ``split`` and the options of the backend name on a command line.

    Raises:
        SegError: package or dataset cannot be read, or no backend runs the package.
    """
    package = ModelPackage.load(options.package)
    dataset = load_dataset(options.path)
    backend = load_backend(package, options.variant, options.provider, threads=options.threads)
    cases = dataset.train if options.split == "train" else dataset.test
    return Predictor(package, backend, mirror=mirror), dataset, cases


@contextmanager
def _folder_for(predictions: Path | None) -> Iterator[Path]:
    if predictions is not None:
        yield predictions
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate",
        description="Score a model package on a dataset, whole images as the service sees them.",
    )
    parser.add_argument("package", type=Path, metavar="PACKAGE", help="folder with model.json")
    parser.add_argument("path", type=Path, metavar="PATH", help="folder of the dataset")
    parser.add_argument(
        "--split", choices=("train", "test"), default="test", help="cases to score (default: test)"
    )
    parser.add_argument(
        "--out",
        type=Path,
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
        "--predictions", type=Path, metavar="DIR", help="keep the predicted masks in this folder"
    )
    add_backend_options(parser)
    return parser


def positive(text: str) -> float:
    """A number of the command line that must be above 0 and finite."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError("must be above 0 and finite")
    return number


if __name__ == "__main__":
    sys.exit(main())
