"""Our own plan for a GPU beside nnU-Net's: on how many made-up datasets each decision is the same.

The datasets and the answers of nnU-Net's planners are those of the test of ``--as-nnunet``. With
what an earlier decision says taken from nnU-Net, a later one is compared by itself: strides and
kernels are ours for nnU-Net's patch.
Usage: python benchmarks/default_plan.py [--json FILE]
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.result import report
from seg.errors import ConfigError
from seg.model_package import Channel
from training.dataset.fingerprint import ChannelStatistics, Fingerprint
from training.planning.rules import make_plan

GRID = Path(__file__).parents[1] / "tests" / "training" / "recorded" / "nnunet_plans.json"
KINDS = {"CTNormalization": "clip_zscore", "ZScoreNormalization": "zscore"}
INTENSITIES = ChannelStatistics(
    mean=10, std=5, percentile_00_5=0, percentile_99_5=20, range=(0, 20)
)
NETWORK = "resunet-m"
LEVELS = ("stages", "strides", "kernels", "features", "blocks")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    grid = [row for row in json.loads(GRID.read_text("utf-8")) if row["network"] == NETWORK]
    rows = []
    for dims in (2, 3):
        chosen = [row for row in grid if row["dims"] == dims]
        free, given = (Counter[str](), Counter[str]())
        for row in chosen:
            free.update(same(row))
            given.update(same(row, patch=tuple(row["plan"]["patch"])))
        for field in same(chosen[0]):
            share = {
                "dims": dims,
                "field": field,
                "same": free[field] / len(chosen),
                "same_for_nnunets_patch": given[field] / len(chosen),
            }
            rows.append(share)
            print(
                f"{dims}D {field:14} {share['same']:6.1%} the same, "
                f"{share['same_for_nnunets_patch']:6.1%} for nnU-Net's patch"
            )
    report("default_plan", rows, [], ("seg",), options.json)


def same(row: dict[str, Any], **fields: Any) -> dict[str, int]:
    fingerprint = Fingerprint(
        cases=len(row["shapes"]),
        shapes=row["shapes"],
        spacings=row["spacings"],
        channels=(INTENSITIES,) * len(row["channels"]),
        class_shares=(1 / row["classes"],) * row["classes"],
    )
    channels = tuple(Channel(name=name, modality=name) for name in row["channels"])
    fixed = {"dataset": "grid", "data": "grid", "minutes": 1, "network": NETWORK}
    theirs = row["plan"]
    names = ("spacing", "normalisation", "patch", *LEVELS, "batch_size")
    try:
        plan = make_plan(fingerprint, channels, "cuda", **fixed, **fields)
    except ConfigError:
        return dict.fromkeys(names, 0)
    config = plan.network_config(row["classes"])
    return {
        "spacing": int(np.allclose(plan.spacing or (), theirs["spacing"], atol=1e-4)),
        "normalisation": int(
            [rule.kind for rule in plan.normalisation]
            == [KINDS[n] for n in theirs["normalisation"]]
        ),
        "patch": int(list(plan.patch) == theirs["patch"]),
        "stages": int(len(plan.strides) == len(theirs["strides"])),
        "strides": int([list(axes) for axes in plan.strides] == theirs["strides"]),
        "kernels": int([list(axes) for axes in plan.kernel_sizes] == theirs["kernels"]),
        "features": int(list(config.features) == theirs["features"]),
        "blocks": int(list(config.blocks) == theirs["blocks"]),
        "batch_size": int(plan.batch_size == theirs["batch_size"]),
    }


if __name__ == "__main__":
    main()
