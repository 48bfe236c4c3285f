"""What the commands that score a package on a dataset share."""

import argparse
import math
from collections.abc import Sequence

from seg.inference import Predictor, load_backend
from seg.model_package import ModelPackage
from training.dataset import Case, Dataset, load_dataset


def open_for_scoring(
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


def positive(text: str) -> float:
    """A number of the command line that must be above 0 and finite."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError("must be above 0 and finite")
    return number
