"""Marks that repair a mask: milliseconds, and how many it takes: ``python -m benchmarks.repair``.

With a package and a nnU-Net folder with ``instancesTs``, a person is played by the reference: for
each object that the model found worse than IoU .8, clicks at the deepest point of what is still
wrong, until IoU .8; beside it the points of the roughest polygon that would reach IoU .8.
"""

import argparse
import sys
import time
from pathlib import Path
from statistics import fmean, median

import numpy as np
from scipy import ndimage
from skimage.draw import polygon2mask
from skimage.measure import approximate_polygon, find_contours

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.people import deepest
from benchmarks.result import bar, report
from seg.images import read_channels, read_mask
from seg.inference import Predictor, load_backend
from seg.inference.repair import NO_SEED, repaired
from seg.metrics import dice
from seg.model_package import ModelPackage

ENOUGH, WHOLE = 0.8, 0.95
MOST_CLICKS = 6
BOUND_MS = 300.0


def timed(size: tuple[int, ...], radius: int, reach: float | None) -> float:
    """Median milliseconds of a click that brings back a missed object, of an image full of them."""
    grid = np.indices(size)
    step = 3 * radius
    truth = np.zeros(size, np.int32)
    middles = np.stack(
        np.meshgrid(*(np.arange(step, n - radius, step) for n in size), indexing="ij"), -1
    ).reshape(-1, len(size))
    away = np.min(
        [((grid - m.reshape(-1, *(1,) * len(size))) ** 2).sum(axis=0) for m in middles], axis=0
    ) if len(middles) < 30 else ((grid % step - step / 2) ** 2).sum(axis=0)  # fmt: skip
    truth[away < radius**2] = 1
    numbers, count = ndimage.label(truth)
    missed = count // 2
    inside = ndimage.gaussian_filter(truth.astype(np.float32), 1.5)
    rng = np.random.default_rng(0)
    image = (inside + rng.normal(0, 0.1, size)).astype(np.float32)[None]
    labels = np.where(numbers == missed, 0, numbers)
    seeds = np.full(size, NO_SEED)
    middle = tuple(int(s.mean()) for s in np.nonzero(numbers == missed))
    seeds[middle] = missed
    spent = []
    for _ in range(5):
        begun = time.perf_counter()
        repaired(labels, seeds, np.stack([1 - inside, inside]), image, reach=reach)
        spent.append(1000 * (time.perf_counter() - begun))
    return median(spent)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def points_of_an_outline(wanted: np.ndarray) -> int:
    """Of the roughest polygon that lies on an object by IoU .8."""
    padded = np.pad(wanted, 2)
    contour = max(find_contours(padded.astype(float), 0.5), key=len)
    best = len(contour)
    for tolerance in (0.5, 1, 2, 3, 4, 6, 8):
        rough = approximate_polygon(contour, tolerance)
        if len(rough) < 4 or iou(polygon2mask(padded.shape, rough), padded) < ENOUGH:
            break
        best = len(rough) - 1
    return best


def clicked(predictor: Predictor, image_files: list[Path], reference: Path) -> list[dict]:
    """A row for each object that the model found worse than IoU .8, and one of the whole image."""
    image = read_channels(image_files, dims=2)
    truth = read_mask(reference, dims=2).array.astype(np.int32)
    _, objects = predictor.predict_with_objects(image)
    found = objects.labels.astype(np.int32)
    probabilities = predictor.predict_probabilities(image)
    grey = image.array.astype(np.float32)
    seeds = np.full(found.shape, NO_SEED)
    rows, clicks = [], 0
    before = dice(found > 0, truth > 0)
    clicks_to_whole = 0 if before >= WHOLE else None
    for number in np.unique(truth)[1:]:
        wanted = truth == number
        under, votes = np.unique(found[wanted], return_counts=True)
        own = int(under[np.argmax(np.where(under > 0, votes, -1))])
        if own and iou(found == own, wanted) >= ENOUGH:
            continue
        shared = own and (found[truth == 0] == own).mean() >= 0 and len(
            np.unique(truth[(found == own) & (truth > 0)])) > 1  # fmt: skip
        label = own if own and not shared else int(found.max()) + 1
        seeds = np.full(found.shape, NO_SEED)
        start, used = iou(found == own, wanted) if own else 0.0, 0
        while iou(found == label, wanted) < ENOUGH and used < MOST_CLICKS:
            lacking, too_much = wanted & (found != label), ~wanted & (found == label)
            (depth_in, within), (depth_out, place) = deepest(lacking), deepest(too_much)
            marks = np.full(found.shape, NO_SEED)
            if depth_in >= depth_out:
                marks[within] = label
            else:
                there = found[(truth == truth[place]) & (found > 0) & (found != label)]
                of_another = (
                    int(np.bincount(there).argmax()) if there.size else int(found.max()) + 1
                )
                marks[place] = of_another if truth[place] else 0
            seeds = np.where(marks != NO_SEED, marks, seeds)
            found = repaired(found, seeds, probabilities, grey, are_objects=True)
            used += 1
            clicks += 1
            if clicks_to_whole is None and dice(found > 0, truth > 0) >= WHOLE:
                clicks_to_whole = clicks
        rows.append(
            {
                "before": round(start, 3),
                "after": round(iou(found == label, wanted), 3),
                "clicks": used,
                "outline": points_of_an_outline(wanted),
            }
        )
    rows.append(
        {
            "image": reference.name,
            "dice_before": round(float(before), 4),
            "dice_after": round(float(dice(found > 0, truth > 0)), 4),
            "clicks": clicks,
            "clicks_to_dice": clicks_to_whole,
        }
    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path, nargs="?")
    parser.add_argument("data", type=Path, nargs="?", help="nnU-Net folder with instancesTs, 2D")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict] = []
    bars = []
    for size, radius, reach in (
        ((1024, 1024), 22, None),
        ((1024, 1024), 22, 80.0),
        ((96, 160, 160), 10, None),
        ((96, 160, 160), 10, 24.0),
    ):
        ms = timed(size, radius, reach)
        rows.append({"size": size, "reach": reach, "ms": round(ms, 1)})
        print(rows[-1], flush=True)
        if len(size) == 2:
            what = f"ms a click on {size[0]} x {size[1]}, reach {reach or 'of the objects'}"
            bars.append(bar(what, ms, BOUND_MS, at_most=True))
    if options.package and options.data:
        package = ModelPackage.load(options.package)
        predictor = Predictor(package, load_backend(package, provider="cpu"))
        for reference in sorted((options.data / "instancesTs").iterdir())[: options.images]:
            stem = reference.name.split(".")[0]
            files = sorted((options.data / "imagesTs").glob(f"{stem}*"))
            rows += clicked(predictor, files, reference)
        of_objects = [row for row in rows if "outline" in row]
        reached = [row for row in of_objects if row["after"] >= ENOUGH]
        summary = {
            "objects": len(of_objects),
            "reached": len(reached),
            "clicks_of_those": round(fmean(r["clicks"] for r in reached), 2) if reached else None,
            "points_of_their_outlines": (
                round(fmean(r["outline"] for r in reached), 2) if reached else None
            ),
        }
        print(summary, [row for row in rows if "image" in row])
        rows.append(summary)
        bars.append(
            bar("share of poor objects repaired", len(reached) / max(1, len(of_objects)), 0.9,
                at_most=False)
        )  # fmt: skip
    report("repair", rows, bars, ["scikit-image", "scipy", "onnxruntime"], options.json)


if __name__ == "__main__":
    main()
