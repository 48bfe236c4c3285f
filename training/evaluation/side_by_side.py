"""Two packages, or evaluations that were made before, scored on the same cases."""

import argparse
from collections.abc import Sequence

from seg.errors import ConfigError
from seg.inference import Predictor, load_backend
from seg.model_package import ModelPackage
from training.dataset.matched_classes import matched
from training.evaluation.case_choice import choose_cases
from training.evaluation.command_line import dataset_for, tell
from training.evaluation.evaluator import default_tolerance, evaluate
from training.evaluation.score_files import read_metrics
from training.evaluation.scores import Evaluation, renamed_classes


def evaluations_of(options: argparse.Namespace) -> list[Evaluation]:
    """Of the two that a command line names: read, or made on the same cases of its dataset.

    Raises:
        SegError: a package, a file or the dataset cannot be read, or they do not go together.
    """
    paths = (options.a, options.b)
    packages = [None if path.is_file() else ModelPackage.load(path) for path in paths]
    tolerance = options.tolerance
    loaded = [package for package in packages if package]
    if loaded and options.path is None:
        raise ConfigError("packages are compared on a dataset; name its folder as third argument")
    if tolerance is None:  # that of the file, or of the first package, for both
        written = [read_metrics(path).tolerance for path in paths if path.is_file()]
        tolerance = next((stated for stated in written if stated), None)
        tolerance = tolerance or (default_tolerance(loaded[0].card) if loaded else None)
    unseen_by_all = _cases_for_all(loaded, options)
    evaluations = [
        _evaluation(package, options, tolerance, unseen_by_all) if package else read_metrics(path)
        for path, package in zip(paths, packages, strict=True)
    ]
    if len(loaded) == len(paths):  # a class may have another name in the second
        ours, theirs = (package.card.classes[1:] for package in loaded)
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
    return evaluate(predictor, dataset, cases, tolerance=tolerance, tell=tell)
