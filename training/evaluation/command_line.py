"""What the commands that score a package on a dataset open."""

import argparse
import sys
from pathlib import Path

from seg.inference import Predictor, load_backend
from seg.model_package import ModelCard, ModelPackage
from training.dataset import Dataset, look_into
from training.dataset.findings.finding import raise_errors
from training.dataset.findings.inspection import Looks
from training.dataset.matched_classes import on_channels, on_classes, taken_by_place
from training.evaluation.case_choice import Chosen, choose_cases


def open_for_scoring(
    options: argparse.Namespace, *, mirror: bool = False
) -> tuple[Predictor, Dataset, Chosen]:
    """What ``package``, ``path``, ``split`` and the options of the backend name on a command line.

    What is doubtful or left out is told on the error stream.

    Raises:
        SegError: package or dataset cannot be read, their classes differ, or no backend runs the
            package.
    """
    package = ModelPackage.load(options.package)
    dataset = dataset_for(package.card, options.path)
    looks = Looks(dataset)
    chosen = choose_cases(package.card, dataset, options.split, looks)
    tell(chosen.left_out)
    for finding in looks.doubts(chosen.cases):
        tell(str(finding))
    backend = load_backend(
        package,
        options.variant,
        options.provider,
        threads=options.threads,
        precision=options.precision,
    )
    answering = package.as_variant(options.variant)
    predictor = Predictor(answering, backend, mirror=mirror, overlap=options.overlap)
    return predictor, dataset, chosen


def dataset_for(card: ModelCard, path: Path) -> Dataset:
    """The dataset in a folder with the classes and the channels of a package.

    Raises:
        DatasetError: it is no dataset, or its classes or channels are others.
    """
    dataset, findings = look_into(path, card.classes)
    raise_errors(findings)
    for finding in findings:
        tell(str(finding))
    tell(taken_by_place(dataset, card.input.channels))
    return on_channels(on_classes(dataset, card.classes, card.task), card.input.channels)


def tell(sentence: str) -> None:
    """On the error stream, where there is something to tell."""
    if sentence:
        sys.stderr.write(f"{sentence}\n")
