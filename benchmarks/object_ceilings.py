"""What objects lack: labels, encoding, the mask, or where it is cut into objects.

On the test images of a dataset, by class: AP at .5 and SEG of
- each encoding, where the network would make no error (its targets, decoded);
- a package;
- the same, had its mask been right: the class's true voxels, cut where the package cuts;
- the same, had its cuts been right: the voxels of its objects, each given to the true object next
  to it within what hangs together.
What gains most is what lacks most. Labels are the rest: a person's second look is no part of this.
Usage: python benchmarks/object_ceilings.py PACKAGE DATASET [PACKAGE DATASET ...] [--json FILE]
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.result import report
from seg.inference import Predictor
from seg.metrics import ObjectCounts, count_objects, overlaps
from seg.model_package import ModelPackage
from seg.objects import SeedRule, components, flooded
from training.dataset import load_dataset
from training.samples.object_targets import FULL, depths, with_borders

SEED_SHARE = {"border": 0.5, "distance": 0.5}
WIDTH = 1
MEASURES = ("ap_50", "seg")
RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Test:
    """A class of a test image, and what a package says of it."""

    truth: np.ndarray
    """Numbers of the true objects; 0 elsewhere."""
    predicted: np.ndarray
    mask: np.ndarray
    """Voxels of the package's objects."""
    spacing: tuple[float, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="+", type=Path, metavar="PACKAGE DATASET")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    print(f"{'dataset':14} {'class':10} {'what':22} {'AP .5':>22} {'SEG':>22} merged split")
    for package, data in zip(arguments.pairs[::2], arguments.pairs[1::2], strict=True):
        for row in measure(package, data):
            rows.append(row)
            said = [f"{row[m]:.3f} ({row[f'{m}_ci95'][0]:.3f}-{row[f'{m}_ci95'][1]:.3f})"
                    for m in MEASURES]  # fmt: skip
            print(
                f"{row['dataset']:14} {row['class']:10} {row['what']:22} {said[0]:>22} "
                f"{said[1]:>22} {row['merged']:6} {row['split']:5}",
                flush=True,
            )
    report("object_ceilings", rows, [], ("numpy", "scikit-image"), arguments.json)


def measure(path: Path, data: Path) -> Iterator[dict[str, object]]:
    dataset = load_dataset(data)
    predictor = Predictor(ModelPackage.load(path))
    instances = predictor.package.card.instances
    assert instances is not None, "a package that tells objects apart is needed"
    tests: dict[str, list[Test]] = {info.name: [] for info in dataset.classes[1:]}
    for case in dataset.test:
        image, mask = dataset.read(case)
        numbers = dataset.read_objects(case, image, mask)
        _, objects = predictor.predict_with_objects(image)
        kinds = np.append(np.uint8(0), objects.classes)
        for info in dataset.classes[1:]:
            own = kinds[objects.labels] == info.index
            tests[info.name].append(
                Test(
                    np.where(mask.array == info.index, numbers, 0).astype(np.int32),
                    np.where(own, objects.labels, 0).astype(np.int32),
                    own,
                    image.spacing or (1.0,) * image.dims,
                )
            )
    ways: dict[str, Callable[[Test], np.ndarray]] = {
        "components": lambda test: components(test.truth > 0),
        "border": lambda test: decoded(test, "border"),
        "distance": lambda test: decoded(test, "distance"),
        "package": lambda test: test.predicted,
        "package, true mask": lambda test: spread(test.predicted, test.truth > 0),
        "package, true cuts": lambda test: spread(test.truth, test.mask),
    }
    for name, of_class in tests.items():
        for what, way in ways.items():
            counts = [count_objects(overlaps(way(test), test.truth)) for test in of_class]
            total = sum(counts, ObjectCounts())
            yield {
                "dataset": dataset.name,
                "class": name,
                "package": f"{path.parent.name}, {instances.encoding}",
                "what": what,
                **scored(counts),
                "objects": total.reference,
                "found": total.predicted,
                "merged": total.merged,
                "split": total.split,
            }


def scored(counts: Sequence[ObjectCounts]) -> dict[str, object]:
    """Each measure of all cases together, with its interval over cases."""
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(counts), (RESAMPLES, len(counts)))
    samples = [sum((counts[at] for at in draw), ObjectCounts()).scores() for draw in draws]
    total = sum(counts, ObjectCounts()).scores()
    found: dict[str, object] = {}
    for name in MEASURES:
        values = np.array([sample[name] for sample in samples])
        found[name] = round(total[name], 4)
        found[f"{name}_ci95"] = np.nanpercentile(values, (2.5, 97.5)).round(4).tolist()
    return found


def decoded(test: Test, encoding: str) -> np.ndarray:
    """The true objects through an encoding and back."""
    inside = (test.truth > 0).astype(np.uint8)
    if encoding == "border":
        ratio = [max(1, round(WIDTH * min(test.spacing) / mm)) for mm in test.spacing]
        border = with_borders(inside, test.truth, 2, ratio) == 2
        heights = np.where(border, 0, FULL * inside).astype(np.uint8)
    else:
        heights = depths(test.truth, test.spacing)
    return flooded(inside, heights, {1: SeedRule(round(FULL * SEED_SHARE[encoding]))}).labels


def spread(objects: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Objects over a mask, each voxel to the next one that it hangs together with."""
    inside = np.where(mask, objects, 0)
    away = ndimage.distance_transform_edt(inside == 0)
    labels = watershed(away, inside, mask=mask)
    rest = components(mask & (labels == 0))
    return np.where(rest > 0, rest + labels.max(), labels)


if __name__ == "__main__":
    main()
