"""A compiled network is planned where it allows more steps, its compilation counted."""

import copy

import pytest
import torch
from torch import nn

from seg.errors import ConfigError
from seg.images import ClassInfo
from seg.model_package import Channel
from tests.training.run.test_plan import fingerprint
from training.dataset.legend import Legend
from training.learning import compiled
from training.learning.compiled import compiled_as_planned
from training.planning import step_cost
from training.planning.compilation import LEAST_SECONDS, compiled_where_it_pays
from training.planning.rules import make_plan
from training.planning.search import Budget, Candidate
from training.planning.step_cost import Measured, measured_step
from training.run.device import Device
from training.run.memory import TooLittleMemoryError
from training.run.plan import changed_plan
from training.run.processes import World

LEGEND = Legend(tuple(ClassInfo(index=i, name=str(i), color=(i, i, i)) for i in range(2)))
CARD = Device("cuda", "made up")
HOUR = 3600.0


def plan(**fields):
    return make_plan(
        fingerprint((32, 32)), (Channel(name="a"),), "cpu", dataset="t", data="t", minutes=60,
        network="resunet-xs", batch_size=2, **fields,
    )  # fmt: skip


def chosen(times, *, left=180.0, seconds=HOUR, device=CARD, memory=100, **fields):
    """What is planned where a step takes 1 s plain, and as ``times`` says where it is compiled."""
    asked = []

    def measure(plan, patience_s):
        asked.append(plan.compiled)
        found = times[plan.compiled]
        if isinstance(found, Exception):
            raise found
        step, compile_seconds = found
        return Measured(step, 50, 7, compile_seconds)

    best = Candidate(plan(**fields), 1.0, 50, seconds, 0.9, measured=True)
    limits = Budget(seconds=seconds, bytes=memory, held=0)
    found = compiled_where_it_pays(best, limits, device, measure, lambda: left)
    return found, asked


def test_the_way_with_most_steps_is_planned_with_the_time_that_compiling_takes():
    found, asked = chosen({"kernels": (0.8, 60.0), "graphs": (0.7, 90.0)})
    assert asked == ["kernels", "graphs"]
    assert found.plan.compiled == "graphs"
    assert found.steps == pytest.approx((HOUR - 90) / 0.7, rel=1e-3)
    found, _ = chosen({"kernels": (0.8, 60.0), "graphs": (0.79, 400.0)})
    assert found.plan.compiled == "kernels"


@pytest.mark.parametrize(
    "times",
    [
        {"kernels": (0.99, 10.0), "graphs": (1.2, 10.0)},
        {"kernels": (0.5, 1900.0), "graphs": (0.5, 3000.0)},
        {"kernels": ConfigError("no C compiler"), "graphs": TooLittleMemoryError("for it")},
    ],
)
def test_what_does_not_pay_or_does_not_work_is_left_out(times):
    found, _ = chosen(times)
    assert found.plan.compiled == "none"
    assert found.steps == pytest.approx(HOUR, rel=1e-3)


def test_a_way_that_fails_leaves_the_other():
    found, _ = chosen({"kernels": (0.5, 60.0), "graphs": ConfigError("cannot record")})
    assert found.plan.compiled == "kernels"


@pytest.mark.parametrize(("steps", "way"), [(100, "none"), (3600, "kernels")])
def test_so_many_steps_are_compiled_where_they_end_sooner(steps, way):
    found, _ = chosen({"kernels": (0.5, 60.0), "graphs": (1.0, 60.0)}, left=0.0, steps=steps)
    assert found.plan.compiled == way


def test_gradients_that_are_added_up_are_not_written_over_by_a_graph():
    found, asked = chosen({"kernels": (0.5, 60.0)}, accumulate=2)
    assert asked == ["kernels"]
    assert found.plan.compiled == "kernels"
    with pytest.raises(ConfigError, match=r"write over the gradients.* none, kernels"):
        changed_plan(found.plan, {"compiled": "graphs"})


def test_a_compiler_that_is_not_there_is_told_in_one_sentence(monkeypatch):
    def backend(graph, examples):
        raise RuntimeError("no compiler here\nand more")

    monkeypatch.setitem(compiled.WAYS, "kernels", {"backend": backend})
    device = Device("cpu", "here")
    with pytest.raises(ConfigError, match=r"no compiler here.*; choose --compiled none"):
        measured_step(plan(compiled="kernels"), LEGEND, device, "float32", patience_s=60)


def test_what_does_not_fit_into_memory_is_not_planned():
    found, _ = chosen({"kernels": (0.5, 60.0), "graphs": (0.5, 60.0)}, memory=49)
    assert found.plan.compiled == "none"


@pytest.mark.parametrize(
    "more",
    [
        {"left": LEAST_SECONDS - 1},
        {"device": Device("cpu", "made up")},
        {"device": Device("cuda", "made up", World(rank=0, size=2))},
        {"stochastic_depth": 0.1},
        {"sandwich_share": 0.3},
    ],
)
def test_it_is_not_even_measured_where_there_is_no_time_or_steps_differ(more):
    found, asked = chosen({}, **more)
    assert asked == []
    assert found.plan.compiled == "none"


class Plain(nn.Module):
    """A network without checks of types in the midst, which dynamo would trace for a minute."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, x):
        y = self.conv(x)
        return [y, y[..., ::2, ::2]]


@pytest.fixture(autouse=True)
def plain_network(monkeypatch):
    monkeypatch.setattr(step_cost, "make_network", lambda config: Plain())


@pytest.fixture
def compiler(monkeypatch):
    """Stands in for inductor, which takes a minute: runs what dynamo traced, and counts."""
    runs = []

    def backend(graph, examples):
        def run(*inputs):
            runs.append(1)
            return graph(*inputs)

        return run

    monkeypatch.setitem(compiled.WAYS, "kernels", {"backend": backend})
    return runs


def test_steps_are_measured_with_the_compiled_network(compiler):
    found = measured_step(
        plan(compiled="kernels"), LEGEND, Device("cpu", "here"), "float32", patience_s=60
    )
    assert len(compiler) == 2 + 1 + step_cost.TIMED_STEPS
    assert found.compile_seconds > found.seconds > 0


def test_a_compiled_network_is_the_same_one_with_plain_copies_and_plain_afterwards(compiler):
    chosen, network = plan(compiled="kernels"), Plain()
    names, patches = list(network.state_dict()), torch.randn(1, 1, *chosen.patch)
    with torch.no_grad():
        expected = network(patches)
        with compiled_as_planned(network, chosen):
            for found, right in zip(network(patches), expected, strict=True):
                torch.testing.assert_close(found, right)
            assert list(network.state_dict()) == names
            count = len(compiler)
            assert count
            copy.deepcopy(network)(patches)
            assert len(compiler) == count
        network(patches)
        assert len(compiler) == count
