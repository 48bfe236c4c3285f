"""What is planned for which budget, on a machine that is made up, and on this one."""

import argparse
import mmap
from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.phantom import draw
from seg.errors import ConfigError
from seg.model_package import Channel
from tests.training.run.test_plan import fingerprint
from training.dataset import Legend
from training.plan import main
from training.planning import step_cost
from training.planning.flags import memory_size
from training.planning.forecast import forecast_dice
from training.planning.search import Budget, best_of, candidates
from training.planning.step_cost import Measured
from training.run.device import Device, using_threads
from training.run.memory import peak_of
from training.run.plan_yaml import read_plan

GIB = 2**30
DEVICE = Device("cpu", "made up")
VOXELS_A_SECOND = {"resunet-xs": 600_000, "resunet-s": 200_000, "resunet-m": 50_000}
BYTES_A_VOXEL, PARAMETERS = 3000, 5_000_000


def measure(plan, patience_s):
    """A machine of which all is known."""
    voxels = plan.batch_size * prod(plan.patch)
    return Measured(
        voxels / VOXELS_A_SECOND[plan.network], BYTES_A_VOXEL * voxels + 16 * PARAMETERS, PARAMETERS
    )


def best(minutes, memory=64 * GIB, shape=(700, 1100), left_s=lambda: 1.0, **chosen):
    fields = {"dataset": "t", "data": "t", "minutes": 1, **chosen}
    plans = candidates(fingerprint(shape), (Channel(name="a"),), DEVICE, fields)
    return best_of(plans, Budget(60 * minutes, memory, held=GIB), measure, left_s)[0]


def test_minutes_get_a_small_network_and_hours_a_large_one():
    networks = [best(minutes).plan.network for minutes in (0.5, 10, 600)]
    assert networks == ["resunet-xs", "resunet-s", "resunet-m"]


def test_ten_minutes_get_what_proved_itself_there():
    plan = best(10).plan
    assert (plan.network, plan.patch, plan.batch_size) == ("resunet-s", (192, 192), 4)


@given(st.floats(0.2, 1000), st.floats(2.5, 64), st.sampled_from([(700, 1100), (40, 300, 300)]))
@settings(deadline=None, max_examples=30)
def test_a_plan_fits_into_the_memory(minutes, gib, shape):
    found = best(minutes, int(gib * GIB), shape)
    assert found.measured
    assert found.bytes <= gib * GIB


def test_less_memory_never_promises_more():
    promised = [best(600, int(gib * GIB)).forecast_dice for gib in (2, 4, 64)]
    assert promised == sorted(promised)
    assert promised[0] < promised[-1]


def test_too_little_memory_says_what_would_be_enough():
    with pytest.raises(ConfigError, match=r"needs 1\.\d GiB .* allowed are 0\.5 GiB; raise --mem"):
        best(10, GIB // 2)


@pytest.mark.parametrize("patch", [[64], [64, 64, 64]])
def test_a_patch_needs_a_number_for_each_axis(patch):
    with pytest.raises(ConfigError, match=r"patch needs 2 numbers, .* \(y, x\), got 64"):
        best(10, patch=patch)


def test_what_is_chosen_is_not_searched():
    plan = best(10, network="resunet-m", patch=(96, 96), batch_size=3).plan
    assert (plan.network, plan.patch, plan.batch_size) == ("resunet-m", (96, 96), 3)


def test_a_network_that_there_is_no_time_to_measure_is_not_trained():
    assert best(600, left_s=lambda: 0.0).plan.network == "resunet-xs"


@pytest.mark.parametrize(
    ("seconds", "threads"),
    [
        pytest.param({4: 1.0, 2: 1.9, 1: 3.6}, None, id="idle"),
        pytest.param({4: 8.0, 2: 4.0, 1: 1.0}, 1, id="busy"),
        pytest.param({4: 3.0, 2: 1.5, 1: 1.4}, 2, id="half of it busy"),
    ],
)
def test_where_fewer_threads_are_faster_they_are_taken(seconds, threads, monkeypatch):
    def made_up(*_):
        return Measured(seconds[torch.get_num_threads()], bytes=0, parameters=1)

    monkeypatch.setattr(step_cost, "measured_step", made_up)
    with using_threads(4):
        stopwatch = step_cost.Stopwatch(Legend(()), DEVICE, "float32", None)
        measured = stopwatch(best(10).plan, 9.0)
        assert torch.get_num_threads() == 4
    assert stopwatch.threads == threads
    assert measured.seconds == seconds[threads or 4]


@given(
    st.sampled_from(sorted(VOXELS_A_SECOND)),
    st.floats(1, 1e6),
    st.integers(1, 32),
    st.sampled_from([(96, 96), (256, 256), (40, 40, 40)]),
)
def test_more_steps_and_more_patches_promise_more(network, steps, batch_size, patch):
    dice = forecast_dice(network, steps, batch_size, patch)
    assert 0 <= dice <= 1
    assert forecast_dice(network, 2 * steps, batch_size, patch) >= dice
    assert forecast_dice(network, steps, 2 * batch_size, patch) >= dice


@pytest.mark.parametrize(("text", "size"), [("8GiB", 8 * GIB), ("500MB", 500_000_000)])
def test_sizes_are_read_as_people_write_them(text, size):
    assert memory_size(text) == size


@pytest.mark.parametrize("text", ["much", "0GiB", "-1"])
def test_what_is_no_size_is_said(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a size such as 8GiB"):
        memory_size(text)


def test_a_peak_that_has_passed_is_seen():
    # a map of its own: an array may lie in what the process holds already
    with peak_of("cpu") as peak, mmap.mmap(-1, 64 * 2**20) as held:
        held.write(bytes(range(256)) * 2**18)
    assert peak.bytes - peak.before > 48 * 2**20


def test_the_command_writes_a_plan_and_what_was_considered(tmp_path):
    data = draw(tmp_path / "data", cases=3, size=(64, 80))
    plan = tmp_path / "plan.yaml"
    assert main([str(data), "--minutes", "1", "--memory", "16GiB", "--out", str(plan)]) == 0
    written = read_plan(plan)
    assert (written.minutes, written.memory) == (1, 16 * GIB)
    rows = (tmp_path / "plan.candidates.csv").read_text().splitlines()
    assert rows[0].startswith("choice,network,patch,batch_size")
    assert rows[1].split(",")[:2] == ["1", written.network]


def test_the_command_says_what_cannot_be_in_one_sentence(tmp_path, capsys):
    data = draw(tmp_path / "data", cases=3, size=(64, 80))
    assert main([str(data), "--memory", "1MiB", "--out", str(tmp_path / "plan.yaml")]) == 2
    assert "raise --memory" in capsys.readouterr().err
