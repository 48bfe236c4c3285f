"""An encoder that learnt elsewhere is trained gently."""

import pytest
import safetensors.torch
import torch

from benchmarks.encoders_evidence import summary
from seg.errors import ConfigError
from seg.files import sha256_of
from seg.networks import make_network, network_config
from tests.training.run.test_plan import planned
from training.learning.foreign_encoder import (
    ENCODER,
    begin_with_weights,
    freeze_statistics,
    rate_of,
    weight_groups,
)

NETWORK = "smp:unet/tu-test_resnet"


def network_and_plan(**chosen):
    torch.manual_seed(0)
    config = network_config(NETWORK, spatial_dims=2, in_channels=1, num_classes=2)
    plan = planned((64, 64), network=NETWORK, strides=config.strides, deep_supervision=False,
                   kernel_sizes=((3, 3),) * len(config.strides), **chosen)  # fmt: skip
    return make_network(config), plan


@pytest.mark.parametrize(
    ("progress", "rate"),
    [(0.0, 0.0), (0.19, 0.0), pytest.param(0.2, 0.3, id="thawed"), (1.0, 0.3)],
)
def test_an_encoder_is_frozen_first_and_learns_slowly_then(progress, rate):
    network, plan = network_and_plan(encoder_rate=0.3, frozen_share=0.2)
    groups = weight_groups(network, plan)
    assert {rate_of(group, plan, progress) for group in groups if group[ENCODER]} == {rate}
    assert {rate_of(group, plan, progress) for group in groups if not group[ENCODER]} == {1.0}


def test_every_weight_is_in_one_group_the_encoder_s_in_its_own():
    network, plan = network_and_plan()
    groups = weight_groups(network, plan)
    grouped = [weight for group in groups for weight in group["params"]]
    assert {id(w) for w in grouped} == {id(w) for w in network.parameters()}
    assert len(grouped) == len(list(network.parameters()))
    slow = {id(weight) for group in groups if group[ENCODER] for weight in group["params"]}
    assert slow == {id(weight) for weight in network.model.encoder.parameters()}


def test_batches_do_not_move_the_statistics_that_an_encoder_came_with():
    network, _ = network_and_plan()
    network.train()
    freeze_statistics(network)
    before = {name: value.clone() for name, value in network.named_buffers()}
    network(5 + torch.randn(2, 1, 64, 64))
    moved = [name for name, value in network.named_buffers() if not value.equal(before[name])]
    assert moved
    assert all(name.startswith("model.decoder") for name in moved)


def test_a_file_that_is_another_one_than_planned_begins_no_training(tmp_path):
    file = tmp_path / "weights.safetensors"
    network, plan = network_and_plan(weights=str(file), weights_sha256="0" * 64)
    stored = network.model.encoder.state_dict()
    safetensors.torch.save_file(stored, file)
    with pytest.raises(ConfigError, match="other weights than when the training was planned"):
        begin_with_weights(network, plan)
    begin_with_weights(network, plan.model_copy(update={"weights_sha256": sha256_of(file)}))


def trainings(arm, dice, minutes=None, steps=10):
    about = {"dataset": "hela", "images": 2, "core_minutes": minutes, "steps": steps}
    return [about | {"arm": arm, "seed": seed, "dice": d} for seed, d in enumerate(dice)]


def test_evidence_has_a_row_for_each_length_whatever_arms_were_trained():
    short = trainings("pretrained", [0.9, 0.8]) + trainings("rate 1", [0.8, 0.6, 0.7])
    long = trainings("pretrained", [0.95, 0.9], steps=40) + trainings("random", [0.9], steps=40)
    timed = trainings("resunet-s", [0.7], minutes=0.4, steps=33)
    rows = summary([*short, *long, *timed])
    lengths = [(row["core_minutes"], row.get("given_steps"), row["seeds"]) for row in rows]
    assert lengths == [(None, 10, 3), (None, 40, 2), (0.4, None, 1)]
    assert rows[0]["pretrained - rate 1"]["mean"] == pytest.approx((0.1 + 0.2) / 2)
    assert rows[0]["rate 1"] == pytest.approx(0.7)
    assert rows[1]["pretrained - random"] == {"mean": None, "ci95": None}
    assert "pretrained" not in rows[2]
