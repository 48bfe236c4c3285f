"""Whether objects of one class are better flooded from those of another, as cells from nuclei.

On the test images of a dataset, AP at .5 and SEG of one class: as a package finds its objects, and
flooded within its mask from the objects of the other class, those it finds and the true ones.
Beside them how many true objects touch none of the other class. Nothing is trained.
Usage: python benchmarks/object_seeds.py PACKAGE DATASET CLASS SEEDS [--json FILE]
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from skimage.segmentation import watershed

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.result import report
from seg.inference import Predictor
from seg.metrics import ObjectCounts, count_objects, overlaps
from seg.model_package import ModelPackage
from seg.objects import ObjectsMeter
from training.dataset import load_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("kind", metavar="CLASS")
    parser.add_argument("seeds", metavar="SEEDS")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    counts: dict[str, ObjectCounts] = {}
    alone = 0
    for truth, seeds, found in tests(arguments):
        alone += len(set(np.unique(truth[truth > 0])) - touching(truth, seeds))
        for name, labels in found.items():
            counts[name] = counts.get(name, ObjectCounts()) + count_objects(overlaps(labels, truth))
    rows = []
    for name, count in counts.items():
        scores = count.scores()
        rows.append(
            {"what": name, "ap_50": scores["ap_50"], "seg": scores["seg"], "merged": count.merged,
             "split": count.split, "predicted": count.predicted, "reference": count.reference,
             "reference_without_a_seed": alone}
        )  # fmt: skip
        print(rows[-1])
    report("object_seeds", rows, [], ("numpy", "scikit-image"), arguments.json)


def tests(
    arguments: argparse.Namespace,
) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]]:
    """Of each image true objects, true seeds, and objects by how they were found."""
    dataset = load_dataset(arguments.dataset)
    predictor = Predictor(ModelPackage.load(arguments.package))
    index = {info.name: info.index for info in dataset.classes}
    kind, other = index[arguments.kind], index[arguments.seeds]
    for case in dataset.test:
        image, mask = dataset.read(case)
        numbers = dataset.read_objects(case, image, mask)
        truth, seeds = (np.where(mask.array == each, numbers, 0) for each in (kind, other))
        meter = ObjectsMeter(predictor.package.card, image.spatial_shape)
        predictor.labels_observed(image, meter)
        predicted, objects = predictor.predict_with_objects(image)
        kinds = np.append(np.uint8(0), objects.classes)[objects.labels]
        inside = predicted.array == kind
        yield (
            truth,
            seeds,
            {
                "its own cores": np.where(kinds == kind, objects.labels, 0),
                "seeds that it finds": grown(
                    np.where(kinds == other, objects.labels, 0), inside, meter.heights
                ),
                "true seeds": grown(seeds, inside & (seeds == 0), meter.heights),
            },
        )


def grown(seeds: np.ndarray, inside: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Objects flooded from seeds that lie outside of them."""
    labels = watershed(-heights.astype(np.int16), seeds.astype(np.int32), mask=inside | (seeds > 0))
    return np.where(inside, labels, 0)


def touching(labels: np.ndarray, others: np.ndarray) -> set[int]:
    """Labels of which a side is one of others' too."""
    found: set[int] = set()
    for axis in range(labels.ndim):
        a, b = np.moveaxis(labels, axis, 0), np.moveaxis(others, axis, 0)
        found |= set(a[1:][b[:-1] > 0].tolist()) | set(a[:-1][b[1:] > 0].tolist())
    return found - {0}


if __name__ == "__main__":
    main()
