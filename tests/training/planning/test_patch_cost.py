"""A card that would wait for its patches changes them itself."""

import pytest

from seg.model_package import Channel
from tests.training.run.test_plan import fingerprint
from training.planning import patch_cost
from training.planning.patch_cost import place_to_augment, seconds_a_patch
from training.planning.rules import make_plan
from training.run.device import Device, workers_of
from training.run.processes import World

measured_orders = patch_cost.seconds_to_order

CARD = Device("cuda", "made up")


def plan(shape=(64, 64, 64), **fields):
    return make_plan(
        fingerprint(shape), (Channel(name="a"),), "cpu", dataset="t", data="t", minutes=60,
        **{"network": "resunet-xs", "batch_size": 2, "augmentation": "medical"} | fields,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch):
    monkeypatch.setattr("training.run.device.cores", lambda: 16)


@pytest.fixture(autouse=True)
def orders(monkeypatch):
    """Seconds that a card takes to be told."""
    told = {"seconds": 0.001}
    monkeypatch.setattr(patch_cost, "seconds_to_order", lambda plan: told["seconds"])
    return told


@pytest.mark.parametrize(("seconds", "place"), [(0.05, "host"), (0.5, "device")])
def test_patches_are_changed_where_the_card_need_not_wait(monkeypatch, seconds, place):
    monkeypatch.setattr(patch_cost, "seconds_a_patch", lambda plan: seconds)
    assert place_to_augment(plan(), 0.1, CARD) == place  # 20 a second; 160 or 16 are made


def test_a_card_that_would_be_told_what_to_do_for_longer_is_not(monkeypatch, orders):
    monkeypatch.setattr(patch_cost, "seconds_a_patch", lambda plan: 0.005)  # 1600 a second
    assert place_to_augment(plan(), 0.001, CARD) == "host"  # 2000 are wanted; 667 there
    orders["seconds"] = 0.0001  # 1667 there
    assert place_to_augment(plan(), 0.001, CARD) == "device"


def test_what_telling_a_card_takes_is_measured():
    few, many = (measured_orders(plan(augmentation=each)) for each in ("light", "strong"))
    assert 0 < few < many


def test_all_batches_of_a_step_and_only_this_card_s_patches_count(monkeypatch):
    monkeypatch.setattr(patch_cost, "seconds_a_patch", lambda plan: 0.3)  # 27 a second of eight
    assert place_to_augment(plan(), 0.1, CARD) == "host"
    assert place_to_augment(plan(accumulate=2), 0.1, CARD) == "device"
    two = Device("cuda", "made up", World(rank=0, size=2))
    assert place_to_augment(plan(batch_size=4), 0.1, two) == "host"


def test_a_cpu_and_what_a_device_cannot_do_stay_with_the_host():
    assert place_to_augment(plan(), 1e-9, Device("cpu", "here")) == "host"
    assert place_to_augment(plan((64, 64), augmentation="none"), 1e-9, CARD) == "host"


def test_processes_of_a_machine_share_its_cores():
    assert workers_of(CARD) == 8
    assert workers_of(Device("cuda", "made up", World(rank=0, size=4))) == 4
    assert workers_of(Device("cuda", "made up", World(rank=0, size=64))) == 1


def test_a_heavier_preset_takes_longer():
    small = {"patch": (16, 16, 16)}
    assert seconds_a_patch(plan(augmentation="none", **small)) < seconds_a_patch(
        plan(augmentation="strong", **small)
    )
