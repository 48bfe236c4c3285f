"""Plans of made-up datasets, beside what nnU-Net's own planners said to them.

``benchmarks/peers/nnunet/plan_grid.py`` wrote them down; nnU-Net is not needed here.
"""

import json
from pathlib import Path

import pytest

from seg.model_package import Channel
from training.dataset.fingerprint import ChannelStatistics, Fingerprint
from training.planning.nnunet_rules import nnunet_plan
from training.planning.rules import make_plan

ROWS = json.loads((Path(__file__).parents[1] / "recorded" / "nnunet_plans.json").read_text())
KINDS = {"CTNormalization": "clip_zscore", "ZScoreNormalization": "zscore"}
INTENSITIES = ChannelStatistics(
    mean=10, std=5, percentile_00_5=0, percentile_99_5=20, range=(0, 20)
)


def fingerprint_of(row):
    return Fingerprint(
        cases=len(row["shapes"]),
        shapes=row["shapes"],
        spacings=row["spacings"],
        channels=(INTENSITIES,) * len(row["channels"]),
        class_shares=(1 / row["classes"],) * row["classes"],
    )


def channels_of(row):
    return tuple(Channel(name=name, modality=name) for name in row["channels"])


def planned(row):
    fields = nnunet_plan(fingerprint_of(row), channels_of(row), row["classes"], row["network"])
    fixed = {"dataset": "grid", "data": "grid", "minutes": 1}
    plan = make_plan(fingerprint_of(row), channels_of(row), "cuda", **fixed, **fields)
    config = plan.network_config(row["classes"])
    return {
        "spacing": pytest.approx(plan.spacing, abs=1e-4),
        "patch": list(plan.patch),
        "strides": [list(axes) for axes in plan.strides],
        "kernels": [list(axes) for axes in plan.kernel_sizes],
        "features": list(config.features),
        "blocks": list(config.blocks),
        "batch_size": plan.batch_size,
        "normalisation": [rule.kind for rule in plan.normalisation],
    }


def test_the_grid_holds_what_it_should():
    assert len(ROWS) >= 200
    assert {row["dims"] for row in ROWS} == {2, 3}
    assert {row["network"] for row in ROWS} == {"resunet-m", "resunet-l"}
    assert len({str(row["plan"]["strides"]) for row in ROWS}) > 20


def test_plans_are_nnunets():
    same = []
    for row in ROWS:
        ours = planned(row)
        theirs = dict(row["plan"], normalisation=[KINDS[n] for n in row["plan"]["normalisation"]])
        same.append([field for field in theirs if ours[field] != theirs[field]] == [])
    assert sum(same) / len(same) == 1
