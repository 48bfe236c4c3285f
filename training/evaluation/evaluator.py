"""Whole images to scores, by the Predictor that serves."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from seg.errors import ConfigError, DatasetError, ImageError
from seg.images import MASK_FORMATS, Image, Mask, write_mask, write_objects
from seg.images.grid.orientation import turned_image, turned_mask
from seg.inference import Predictor
from seg.inference.slab_labels import Observe
from seg.inference.tiling.blending import Slab
from seg.model_package import ModelCard
from seg.objects import LABEL_SUFFIX, Objects
from training.dataset import Case, Dataset
from training.dataset.matched_classes import on_channels, on_classes
from training.evaluation.measure import (
    calibration_error,
    evaluation_of,
    measure_case,
    predicted_regions,
)
from training.evaluation.object_scores import score_objects
from training.evaluation.overlapping_classes import Decisions
from training.evaluation.regions import foreground_name, regions
from training.evaluation.scores import CaseScore, Evaluation, RegionScore
from training.evaluation.thresholding import choose_thresholding
from training.evaluation.trust.reliability_meter import CalibrationMeter, Counts
from training.evaluation.trust.self_assessment import CaseEvidence, CaseWatcher, assess
from training.evaluation.trust.shift_calibration import with_shift
from training.evaluation.trust.shifted_cases import shifted_cases

PREDICTION_FORMATS = {2: "png", 3: "nifti"}
"""Format of the masks that an evaluation keeps, by number of dimensions."""


DIGITS = 16
"""Of the number that stands for a subject, whose name is nobody's business."""
VOXELS_OF_TOLERANCE = 2
"""People who draw the same outline twice differ by about as much."""


def evaluate(  # noqa: PLR0913 - what is kept, shown and learnt from the same pass
    predictor: Predictor,
    dataset: Dataset,
    cases: Sequence[Case],
    *,
    predictions: Path | None = None,
    tolerance: float | None = None,
    progress: bool = True,
    degrade: bool = False,
    is_fresh: bool = False,
    tell: Callable[[str], object] | None = None,
) -> Evaluation:
    """Scores of whole images, one in memory at a time.

    Args:
        predictor: of a package with the dataset's classes, in whatever order.
        dataset: whose files are read; its training cases choose the thresholds of the floor.
        cases: to score.
        predictions: folder for the predicted masks, one file a case (``prediction_file``).
        tolerance: of surface Dice, in mm, or in pixels where an image states no spacing; None for
            ``default_tolerance``.
        progress: show a bar where there is a terminal.
        degrade: teach what the model says of its masks on degraded pieces of the cases as well.
        is_fresh: nobody can have drawn over the network's masks: it was trained just now, and began
            with no other package. Of an easy image both may still show the same outlines.
        tell: takes a sentence for each way in which a case is unlike the images of the training.

    Raises:
        DatasetError: package and dataset do not fit, or a case cannot be read.
        BackendError: the network failed.
    """
    card = predictor.package.card
    dataset = _with_classes_of(card, dataset, cases)
    thresholding = choose_thresholding(dataset, dataset.train) if dataset.train else None
    classes = regions(dataset.legend)
    together = foreground_name(dataset.legend)
    tolerance = tolerance or default_tolerance(card)
    scored: list[CaseScore] = []
    calibration: dict[str, Counts] = {}
    evidence: list[CaseEvidence] = []
    for case in tqdm(cases, desc="evaluating", unit="case", disable=None if progress else True):
        stored, mask_of_reference = dataset.read(case)
        # what is observed of a prediction lies as the network sees the image
        turn = predictor.turn_of(stored)
        image, reference = turned_image(stored, turn), turned_mask(mask_of_reference, turn)
        meter = CalibrationMeter(card, classes, reference)
        watcher = CaseWatcher(card)
        decisions = Decisions(card, reference)
        mask, objects = _predict(
            predictor, case, image, (meter, watcher, decisions), with_objects=dataset.has_objects
        )
        if tell:
            _tell_how_unlike(predictor, case, stored, tell)
        evidence.append(watcher.told(reference, dataset.legend, case.subject))
        if predictions is not None:
            kept = Mask.on_grid_of(stored, np.ascontiguousarray(turn.back(mask.array)))
            _keep(kept, card, prediction_file(predictions, case.name, mask.dims))
        floors = thresholding.dice(image, reference) if thresholding else {}
        said = predicted_regions(mask, reference, classes) | decisions.regions
        scores = measure_case(
            said, reference, classes, tolerance, meter.regions, floors, with_outlines=not is_fresh
        )
        score = _case_score(case, scores, together, image, meter)
        if objects is not None:
            numbers = np.ascontiguousarray(
                turn.there(dataset.read_objects(case, stored, mask_of_reference))
            )
            true = dataset.legend.painted(reference.array)
            of_objects = score_objects(objects, mask.array, numbers, true)
            score = score.model_copy(update={"objects": of_objects})
            if predictions is not None:
                found_numbers = np.ascontiguousarray(turn.back(objects.labels))
                _keep_objects(
                    Mask.on_grid_of(stored, found_numbers),
                    objects_file(predictions, case.name, mask.dims),
                )
        scored.append(score)
        for name, counts in meter.regions.items():
            calibration[name] = calibration.get(name, np.zeros_like(counts)) + counts
    # what was drawn over the model's masks teaches it nothing of itself
    judges = [at for at, each in enumerate(scored) if not each.began_with_it]
    cases, evidence = [cases[at] for at in judges], [evidence[at] for at in judges]
    quality = assess(
        evidence,
        {c.name: [scored[at].classes[c.name].dice for at in judges] for c in card.classes[1:]},
        card.task,
        fitted_on=f"{len(cases)} cases of {dataset.name}, on which the scores were taken too",
    )
    if degrade and quality.dice:
        lowest = {
            name: min(each.expected[name] for each in evidence if np.isfinite(each.expected[name]))
            for name in quality.dice
        }
        pieces = shifted_cases(predictor, dataset, cases, progress=progress)
        quality = with_shift(quality, lowest, pieces)
    evaluation = evaluation_of(scored, list(classes), calibration, tolerance)
    return evaluation.model_copy(update={"quality": quality})


def _case_score(
    case: Case,
    scores: dict[str, RegionScore],
    together: str | None,
    image: Image,
    meter: CalibrationMeter,
) -> CaseScore:
    foreground = scores.pop(together) if together else None
    return CaseScore(
        case=case.name,
        subject=None
        if case.subject is None
        else sha256(case.subject.encode()).hexdigest()[:DIGITS],
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


def objects_file(folder: Path, case: str, dims: int) -> Path:
    """Where ``evaluate`` keeps the numbers of the predicted objects of a case."""
    return folder / "objects" / (case + LABEL_SUFFIX[dims])


def _with_classes_of(card: ModelCard, dataset: Dataset, cases: Sequence[Case]) -> Dataset:
    if not cases:
        raise DatasetError("there is no case to evaluate; name a split that has cases")
    return on_channels(on_classes(dataset, card.classes, card.task), card.input.channels)


def _predict(
    predictor: Predictor,
    case: Case,
    image: Image,
    observers: Sequence[Observe],
    *,
    with_objects: bool,
) -> tuple[Mask, Objects | None]:
    def observe(slab: Slab, labels: UInt8[np.ndarray, "*slab"]) -> None:
        for each in observers:
            each(slab, labels)

    try:
        if with_objects:
            return predictor.predict_with_objects(image, observe)
        return predictor.predict(image, observe=observe), None
    except ImageError as error:
        raise DatasetError(f"case {case.name}: {error}") from error


def _tell_how_unlike(
    predictor: Predictor, case: Case, image: Image, tell: Callable[[str], object]
) -> None:
    for sentence in predictor.warnings(image):
        tell(f"warning: {case.name}: {sentence}")


def _keep(mask: Mask, card: ModelCard, path: Path) -> None:
    try:
        write_mask(path, mask, PREDICTION_FORMATS[mask.dims], card.classes)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _keep_objects(numbers: Mask, path: Path) -> None:
    try:
        write_objects(path, numbers)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
