"""What is measured of a step is what the training does."""

from types import SimpleNamespace

import pytest
import torch

from seg.images import ClassInfo
from seg.model_package import Channel
from tests.training.run.test_plan import fingerprint
from training.dataset import Legend
from training.planning import step_cost
from training.planning.rules import make_plan
from training.planning.step_cost import measured_step
from training.run.device import Device

LEGEND = Legend(tuple(ClassInfo(index=i, name=str(i), color=(i, i, i)) for i in range(2)))


@pytest.fixture
def seen(monkeypatch):
    """What is set while a step computes its loss."""
    seen = []

    def watching_loss(*arguments):
        loss = make_loss(*arguments)

        def watch(logits, labels):
            dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
            seen.append(SimpleNamespace(autocast=dtype, searches=torch.backends.cudnn.benchmark))
            return loss(logits, labels)

        return watch

    make_loss = step_cost.make_loss
    monkeypatch.setattr(step_cost, "make_loss", watching_loss)
    return seen


def measure(precision):
    plan = make_plan(
        fingerprint((16, 16)), (Channel(name="a"),), "cpu", dataset="t", data="t", minutes=1,
        network="resunet-xs", patch=(16, 16), batch_size=1,
    )  # fmt: skip
    return measured_step(plan, LEGEND, Device("cpu", "here"), precision, patience_s=0)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("float32", None), ("bfloat16", torch.bfloat16), ("float16", torch.float16)],
)
def test_steps_are_measured_in_the_precision_that_was_asked_for(seen, precision, dtype):
    assert measure(precision).seconds > 0
    assert {each.autocast for each in seen} == {dtype}


def test_float16_is_measured_with_the_scaler_that_trains(seen, monkeypatch):
    scaled = []

    class Scaler(torch.amp.GradScaler):
        def scale(self, outputs):
            scaled.append(self.is_enabled())
            return super().scale(outputs)

    monkeypatch.setattr(torch.amp, "GradScaler", Scaler)
    measure("float16")
    measure("bfloat16")
    assert scaled == [True, False]


def test_convolutions_are_searched_as_in_the_training(seen):
    before = torch.backends.cudnn.benchmark
    measure("float32")
    assert all(each.searches for each in seen)
    assert torch.backends.cudnn.benchmark is before
