"""Score whole images: ``python -m training.evaluate PACKAGE PATH``.

The masks come from the same ``Predictor`` that serves, so a Dice here is the Dice that a user of
the service gets. Beside every score stands the floor: what plain thresholding reaches.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from pydantic import ValidationError
from tqdm import tqdm

from seg.errors import ConfigError, DatasetError, ImageError, SegError
from seg.files import replace_file
from seg.images import MASK_FORMATS, Image, Mask, write_mask
from seg.inference import Predictor, load_backend
from seg.metrics import confusion_matrix
from seg.model_package import ModelCard, ModelPackage
from seg.predict import add_backend_options
from training.dataset import Case, Dataset, load_dataset
from training.floor import choose_thresholding
from training.regions import confusion_of_region, foreground_name, regions
from training.scores import Evaluation, Summary, score_of_case, summary_of_region

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


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    cases: Sequence[Case],
    *,
    predictions: Path | None = None,
    progress: bool = True,
) -> Evaluation:
    """Scores of whole images, one in memory at a time.

    Args:
        predictor: of a package with the dataset's classes.
        dataset: whose files are read; its training cases choose the thresholds of the floor.
        cases: to score.
        predictions: folder for the predicted masks, one file a case (``prediction_file``).
        progress: show a bar where there is a terminal.

    Raises:
        DatasetError: package and dataset do not fit, or a case cannot be read.
        BackendError: the network failed.
    """
    card = predictor.package.card
    _check_fit(card, dataset, cases)
    thresholding = choose_thresholding(dataset, dataset.train) if dataset.train else None
    found = regions(card.classes)
    confusions: list[Mapping[str, Int64[np.ndarray, "2 2"]]] = []
    floors: list[Mapping[str, float]] = []
    for case in tqdm(cases, desc="evaluating", unit="case", disable=None if progress else True):
        image, reference = dataset.read(case)
        mask = _predict(predictor, case, image)
        if predictions is not None:
            _keep(mask, card, prediction_file(predictions, case.name, mask.dims))
        confusion = confusion_matrix(mask.array, reference.array, len(card.classes))
        confusions.append({name: confusion_of_region(confusion, i) for name, i in found.items()})
        floors.append(thresholding.dice(image, reference) if thresholding else {})
    together = foreground_name(card.classes)
    return Evaluation(
        cases=tuple(
            score_of_case(case.name, confusion, together)
            for case, confusion in zip(cases, confusions, strict=True)
        ),
        summary={
            name: summary_of_region(
                [c[name] for c in confusions], [f.get(name, math.nan) for f in floors]
            )
            for name in found
        },
    )


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


def _predict(predictor: Predictor, case: Case, image: Image) -> Mask:
    try:
        return predictor.predict(image)
    except ImageError as error:
        raise DatasetError(f"case {case.name}: {error}") from error


def _keep(mask: Mask, card: ModelCard, path: Path) -> None:
    try:
        write_mask(path, mask, PREDICTION_FORMATS[mask.dims], card.classes)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def write_metrics(evaluation: Evaluation, path: Path) -> None:
    """Write ``metrics.json``, whole or not at all.

    Raises:
        ConfigError: the path cannot be written.
    """
    try:
        replace_file(path, (evaluation.model_dump_json(indent=2) + "\n").encode())
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def read_metrics(path: Path) -> Evaluation:
    """Read ``metrics.json`` back.

    Raises:
        ConfigError: the file is missing or is not what ``write_metrics`` wrote.
    """
    try:
        return Evaluation.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "its beginning"
        raise ConfigError(f"{path} is no metrics.json: {first['msg']} at {where}") from error


def summary_table(evaluation: Evaluation) -> str:
    """The summary for a terminal."""
    width = max(len("class"), *(len(name) for name in evaluation.summary))
    head = f"{'class':{width}}  Dice   95% interval    pooled  IoU    thresholding  cases"
    return "\n".join([head, *(_row(n.ljust(width), s) for n, s in evaluation.summary.items())])


def _row(name: str, score: Summary) -> str:
    interval = f"{score.ci95[0]:.3f} to {score.ci95[1]:.3f}" if score.ci95 else "-"
    return (
        f"{name}  {_text(score.dice)}  {interval:14}  {_text(score.dice_pooled)}   "
        f"{_text(score.iou)}  {_text(score.floor):12}  {score.cases:5}"
    )


def _text(value: float | None) -> str:
    return f"{'-':5}" if value is None else f"{value:.3f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 where all went well, 2 where a user must repair something."""
    options = _parser().parse_args(arguments)
    try:
        package = ModelPackage.load(options.package)
        dataset = load_dataset(options.path)
        cases = dataset.train if options.split == "train" else dataset.test
        backend = load_backend(package, options.variant, options.provider)
        evaluation = evaluate(
            Predictor(package, backend),
            dataset,
            cases,
            predictions=options.predictions,
        )
        print(summary_table(evaluation))  # noqa: T201
        write_metrics(evaluation, options.out)
    except SegError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    print(f"written to {options.out}")  # noqa: T201
    return 0


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
        "--out", type=Path, default=Path("metrics.json"), help="default: metrics.json"
    )
    parser.add_argument(
        "--predictions", type=Path, metavar="DIR", help="keep the predicted masks in this folder"
    )
    add_backend_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
