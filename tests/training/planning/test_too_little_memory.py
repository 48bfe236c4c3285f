"""Plans that do not fit are passed over while the best is looked for."""

from math import prod

import pytest
import torch

from seg.errors import ConfigError
from seg.images import ClassInfo
from seg.model_package import Channel
from tests.training.run.test_plan import fingerprint
from training.dataset import Legend
from training.learning.module import SegmentationModule
from training.planning import step_cost
from training.planning.rules import make_plan
from training.planning.search import Budget, best_of, candidates
from training.planning.step_cost import FRAGMENTATION, Measured, measured_step
from training.run.device import Device, memory_format
from training.run.memory import TooLittleMemoryError

GIB = 2**30
CARD = Device("cuda", "made up, 24 GiB")
FIELDS = {"dataset": "t", "data": "t", "minutes": 600}
CHANNELS = (Channel(name="a"),)


def plans(shape=(300, 300, 300)):
    return candidates(fingerprint(shape), CHANNELS, CARD, FIELDS)


def measure_with(most_voxels, bytes_a_voxel=100):
    """Steps of a card whose memory ends long before the estimates say so."""
    tried = []

    def measure(plan, patience_s):
        voxels = plan.batch_size * prod(plan.patch)
        tried.append(voxels)
        if voxels > most_voxels:
            raise TooLittleMemoryError(f"no room for {voxels}")
        return Measured(voxels / 1e7, bytes_a_voxel * voxels, 1_000_000)

    return measure, tried


def test_the_first_that_does_not_fit_does_not_end_the_search():
    most = 2 * 128**3
    measure, tried = measure_with(most)
    best = best_of(plans(), Budget(36_000, 24 * GIB, held=0), measure, lambda: 1.0)[0]
    assert max(tried) > most, "nothing too large was tried"
    assert best.measured
    assert best.plan.batch_size * prod(best.plan.patch) <= most


def test_a_network_whose_smallest_step_does_not_fit_is_out():
    measure, _ = measure_with(10**9)

    def only_small(plan, patience_s):
        if plan.network == "resunet-m":
            raise TooLittleMemoryError("no room")
        return measure(plan, patience_s)

    best = best_of(plans(), Budget(36_000, 24 * GIB, held=0), only_small, lambda: 1.0)[0]
    assert best.plan.network == "resunet-s"


def test_where_nothing_fits_the_device_s_own_sentence_is_told():
    measure, _ = measure_with(0)
    with pytest.raises(ConfigError, match="no room for"):
        best_of(plans(), Budget(36_000, 24 * GIB, held=0), measure, lambda: 1.0)


def test_a_step_that_fits_in_half_precision_only_is_taken_in_it(monkeypatch):
    def made_up(plan, legend, device, precision, patience_s):
        if precision == "float32":
            raise TooLittleMemoryError("no room")
        return Measured(1.0, 5, 1)

    monkeypatch.setattr(step_cost, "measured_step", made_up)
    monkeypatch.setattr(step_cost, "lower_precision", lambda device: "bfloat16")
    stopwatch = step_cost.Stopwatch(Legend(()), CARD, None, None)
    assert stopwatch(plans()[0], 9.0).bytes == 5
    assert stopwatch.way_of(plans()[0]).precision == "bfloat16"


def test_out_of_memory_of_a_step_is_told_as_such(monkeypatch):
    def out_of_memory(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("training.planning.step_cost._steps", out_of_memory)
    plan = make_plan(fingerprint((64, 64)), CHANNELS, "cpu", **FIELDS)
    with pytest.raises(TooLittleMemoryError, match="too little memory for a step"):
        measured_step(plan, Legend(()), Device("cpu", "here"), "float32", 1.0)


def test_a_card_is_given_room_for_gaps(monkeypatch):
    class Peak:
        before, bytes = 0, 1000

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

    monkeypatch.setattr("training.planning.step_cost._steps", lambda *_: (7, 1.0, 0.0))
    monkeypatch.setattr("training.planning.step_cost.peak_of", lambda kind: Peak())
    plan = make_plan(fingerprint((64, 64)), CHANNELS, "cpu", **FIELDS)
    taken = {
        kind: measured_step(plan, Legend(()), Device(kind, "made up"), "float32", 1.0).bytes
        for kind in ("cpu", "cuda")
    }
    assert taken == {"cpu": 1000, "cuda": int(1000 * FRAGMENTATION)}


@pytest.mark.parametrize("faster", [False, True])
def test_on_a_card_both_layouts_are_measured_and_the_faster_one_is_planned(monkeypatch, faster):
    asked = []

    def made_up(plan, legend, device, precision, patience_s):
        asked.append(plan.channels_last)
        return Measured(0.5 if plan.channels_last == faster else 1.0, 5, 1)

    monkeypatch.setattr(step_cost, "measured_step", made_up)
    monkeypatch.setattr(step_cost, "lower_precision", lambda device: None)
    stopwatch = step_cost.Stopwatch(Legend(()), CARD, None, None)
    first, second, *_ = plans()
    assert stopwatch(first, 9.0).seconds == 0.5
    assert stopwatch.way_of(first).channels_last is faster
    assert asked == [False, True]
    assert stopwatch.way_of(second).channels_last is faster, "unmeasured, as the last that was"
    stopwatch(first, 9.0)
    assert asked[2:] == [faster]


def test_a_layout_that_does_not_fit_leaves_the_other(monkeypatch):
    def made_up(plan, legend, device, precision, patience_s):
        if plan.channels_last:
            raise TooLittleMemoryError("no room")
        return Measured(1.0, 5, 1)

    monkeypatch.setattr(step_cost, "measured_step", made_up)
    monkeypatch.setattr(step_cost, "lower_precision", lambda device: None)
    stopwatch = step_cost.Stopwatch(Legend(()), CARD, None, None)
    assert stopwatch(plans()[0], 9.0).bytes == 5
    assert not stopwatch.way_of(plans()[0]).channels_last


def test_small_steps_on_a_card_decide_nothing_for_large_ones(monkeypatch):
    small, large = (p for p in plans() if p.network == "resunet-m" and p.batch_size == 2
                    and p.patch[0] in (64, 160))  # fmt: skip
    asked = []

    def made_up(plan, legend, device, precision, patience_s):
        asked.append((plan.patch[0], precision, plan.channels_last))
        is_small = plan.patch == small.patch
        # kernels wait to be started: no way is faster than another, but for the casts
        arithmetic = 1.0 if precision == "float32" else 0.4
        seconds = 1.1 if precision != "float32" else 1.0
        return Measured(seconds if is_small else 9 * arithmetic - plan.channels_last, 5, 1)

    monkeypatch.setattr(step_cost, "measured_step", made_up)
    monkeypatch.setattr(step_cost, "lower_precision", lambda device: "bfloat16")
    stopwatch = step_cost.Stopwatch(Legend(()), CARD, None, None)
    stopwatch(small, 9.0)
    stopwatch(large, 9.0)
    assert stopwatch.way_of(small) == ("float32", False)
    assert stopwatch.way_of(large) == ("bfloat16", True)
    compiled = large.model_copy(update={"compiled": "kernels"})
    asked.clear()
    stopwatch(compiled, 9.0)
    assert asked == [(large.patch[0], "bfloat16", True)]
    larger = large.model_copy(update={"batch_size": 4})
    asked.clear()
    stopwatch(larger, 9.0)
    assert {precision for _, precision, _ in asked} == {"bfloat16"}, "what paid goes on paying"


@pytest.mark.parametrize("shape", [(64, 64), (32, 64, 64)])
def test_a_step_with_channels_side_by_side_is_the_same_step(shape):
    plan = make_plan(fingerprint(shape), CHANNELS, "cpu", **FIELDS, network="resunet-xs")
    legend = Legend(tuple(ClassInfo(index=i, name=str(i), color=(i, i, i)) for i in range(2)))
    costs = []
    for last in (False, True):
        torch.manual_seed(0)
        chosen = plan.model_copy(update={"channels_last": last})
        module = SegmentationModule(chosen, legend)
        weights = [p for p in module.network.parameters() if p.ndim == len(shape) + 2]
        assert any(p.stride(1) == 1 and p.shape[1] > 1 for p in weights) or not last
        images = torch.randn(1, 1, *plan.patch).contiguous(memory_format=memory_format(chosen))
        with torch.no_grad():
            costs.append(float(module.loss(module(images), torch.zeros(1, 1, *plan.patch))))
    assert costs[0] == pytest.approx(costs[1], rel=1e-4)
