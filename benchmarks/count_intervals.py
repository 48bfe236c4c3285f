"""Whether the intervals of counts hold the true numbers of objects in test images.

Of finished runs of ``training.fit`` on numbered objects: for each class how often the interval that
the package would tell of a test image holds the true number, how wide it is (half of it, as a share
of the count), and the same with as much known of the variance as images tell alone, as packages
did that keep no number of tiles. Nothing is trained or predicted.
Usage: python benchmarks/count_intervals.py RUN... [--json FILE]
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.result import bar, report
from seg.model_package import CountCalibration, ModelPackage
from seg.objects.counting import count_of
from training.evaluation.object_calibration import TILES
from training.run.plan_yaml import read_plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = [row for run in arguments.runs for row in rows_of(run)]
    for row in rows:
        print(row)
    images = sum(row["images"] for row in rows)
    share = sum(row["held"] for row in rows) / images
    print(f"{share:.1%} of {images} images")
    bars = [
        bar("share of test images whose interval holds the number", share, 0.9, at_most=False),
        bar("the same, at most", share, 0.99, at_most=True),
    ]
    report("count_intervals", rows, bars, ("numpy", "scipy"), arguments.json)


def rows_of(run: Path) -> Iterator[dict[str, Any]]:
    """A row for each class of a run that has a calibration."""
    instances = ModelPackage.load(run / "package").card.instances
    plan = read_plan(run / "plan.yaml")
    cases = json.loads((run / "metrics.json").read_text())["cases"]
    assert instances is not None
    for name, rule in instances.rules.items():
        if rule.count is None:
            continue
        tiles = rule.count.tiles or TILES**2 * rule.count.images
        now = rule.count.model_copy(update={"tiles": tiles})
        scores = [case["objects"][name] for case in cases]
        found = np.array([score["predicted"] for score in scores])
        true = np.array([score["reference"] for score in scores])
        held, half = told(found, true, now)
        before, wider = told(found, true, now.model_copy(update={"tiles": None}))
        yield {
            "dataset": plan.dataset,
            "network": plan.network,
            "seed": plan.seed,
            "class": name,
            "held_back_images": rule.count.images,
            "images": len(scores),
            "counted": int(found.sum()),
            "annotated": int(true.sum()),
            "held": held,
            "half_width": half,
            "held_by_images_alone": before,
            "half_width_by_images_alone": wider,
        }


def told(found: np.ndarray, true: np.ndarray, calibration: CountCalibration) -> tuple[int, float]:
    """Intervals that hold the true number, and half of their mean width as a share of the count."""
    intervals = np.array([count_of(int(n), calibration).interval for n in found])
    low, high = intervals.T
    is_held = (low <= true) & (true <= high)
    return int(is_held.sum()), float((high - low).sum() / 2 / max(1, found.sum()))


if __name__ == "__main__":
    main()
