"""A step puts no question to its device, which would have to end all its work to answer.

Tensors of the device ``meta`` have no values: whoever asks for one gets an error.
"""

import logging
import weakref
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import training.learning.trainer as trainer_module
from seg.errors import SegError
from seg.images import ClassInfo
from seg.model_package import Channel
from tests.meta_device import META, Crossings, MadeThere
from tests.training.run.test_plan import fingerprint
from training.dataset import Legend
from training.dataset.legend import IGNORE
from training.learning.callbacks import Bar, Checkpoint
from training.learning.checkpoint import Saved
from training.learning.losses import LOSSES, make_loss
from training.learning.module import STEPS_BETWEEN_LOOKS, SegmentationModule
from training.learning.trainer import BATCHES_AHEAD, batches_ahead
from training.learning.watch import MovingAverage, Watch
from training.planning.rules import make_plan
from training.run.clock import Clock
from training.run.device import Device

CLASSES = tuple(ClassInfo(index=i, name=f"c{i}", color=(i, i, i)) for i in range(3))
ON_DEVICE = [name for name in LOSSES if name not in ("boundary",)]
"""Distance maps are computed on the host."""


def new_module(size=(64, 64)):
    plan = make_plan(
        fingerprint(size), (Channel(name="a"),), "cpu", dataset="t", data="t", minutes=1,
        network="resunet-xs",
    )  # fmt: skip
    return SegmentationModule(plan, Legend(CLASSES))


@pytest.fixture
def module():
    return new_module()


@pytest.fixture(scope="module")
def judge():
    return new_module()


@pytest.mark.parametrize("name", ON_DEVICE)
def test_the_loss_of_a_step_asks_nothing(name):
    loss = make_loss(Legend(CLASSES), name)
    logits = [torch.randn(2, 3, n, n, device=META) for n in (16, 8)]
    labels = torch.zeros(2, 1, 16, 16, dtype=torch.uint8, device=META)
    loss(logits, labels.float())  # which moves tables there, once
    with MadeThere() as made:
        assert loss(logits, labels.float()).device == META
    assert made.noted == []


def test_the_dice_of_a_step_asks_nothing(module):
    labels = torch.zeros(2, 8, 8, dtype=torch.uint8, device=META)
    dice = module.dice.to(META)
    assert dice(torch.randn(2, 3, 8, 8, device=META), labels).device == META


def test_whether_the_loss_is_finite_is_asked_now_and_then(module, monkeypatch):
    looks = []
    monkeypatch.setattr(module, "check_finite", lambda: looks.append(module._noted))
    module._finite, module._noted = None, 0
    for _ in range(3 * STEPS_BETWEEN_LOOKS):
        module._note(torch.zeros((), device=META))
    assert looks == [n * STEPS_BETWEEN_LOOKS for n in (1, 2, 3)]
    module._finite = None


def test_a_loss_that_was_not_finite_once_is_told_at_the_next_look(module):
    module._finite = torch.isfinite(torch.tensor(float("nan"))) & torch.tensor(True)
    with pytest.raises(SegError, match="no longer finite"):
        module.check_finite()
    module._finite = None
    with pytest.raises(SegError, match="no longer finite"):
        module._note(torch.tensor(float("inf")))
    module._finite = None


def test_the_bar_reads_a_device_once_a_second_and_a_cpu_always():
    bar = Bar(None)
    assert [bar._may_wait(torch.zeros((), device=META)) for _ in range(3)] == [True, False, False]
    assert all(bar._may_wait(torch.zeros(())) for _ in range(3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_computed_in_float32(name, dtype):
    torch.manual_seed(0)
    logits = 30 * torch.randn(2, 3, 12, 12).to(dtype)
    labels = torch.randint(3, (2, 1, 12, 12)).to(torch.uint8)
    loss = make_loss(Legend(CLASSES), name)
    found = loss([logits], labels.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss([logits.float()], labels.float()))


@given(st.integers(0, 2**31))
def test_dice_is_the_mean_over_the_classes_that_occur(judge, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, 3, 3, 3, generator=generator)
    labels = torch.randint(3, (1, 3, 3), generator=generator).to(torch.uint8)
    labels[0, 0, 0] = IGNORE
    known, chosen = labels != IGNORE, logits.argmax(1)
    scores = []
    for index in (1, 2):
        p, r = (chosen == index) & known, (labels == index) & known
        if p.sum() + r.sum():
            scores.append(2 * (p & r).sum() / (p.sum() + r.sum()))
    expected = torch.stack(scores).mean() if scores else torch.tensor(float("nan"))
    torch.testing.assert_close(judge.dice(logits, labels), expected, equal_nan=True)


def test_a_container_s_64_mb_are_told_and_kept(caplog):
    batch = 12 * 512 * 512 * 5  # of 2D patches on a card
    assert batches_ahead(batch, 8, 10 * 2**30) == BATCHES_AHEAD
    assert batches_ahead(batch, 8, None) == BATCHES_AHEAD
    assert not caplog.messages
    with caplog.at_level(logging.WARNING, "training"):
        assert batches_ahead(batch, 8, 64 * 10**6) == 0
    assert "/dev/shm has 64 MB free, and patches on their way want 504 MB" in caplog.text
    assert "--shm-size=504m" in caplog.text


@given(st.integers(1, 10**9), st.integers(1, 16), st.integers(0, 10**11))
def test_what_is_made_ahead_fits(size, workers, shared):
    ahead = batches_ahead(size, workers, shared)
    assert 0 <= ahead <= BATCHES_AHEAD
    assert ahead * workers * size <= shared


def test_a_card_s_memory_is_given_back_before_the_package_is_proven_on_it(tmp_path, monkeypatch):
    """What trained is gone by then, the average of the weights as well."""
    held, left = [], []

    class Trainer:
        """Holds what a real one holds: itself, in a circle with the module."""

        def __init__(self):
            held.append(weakref.ref(self))

    def fit(trainer, module, *_):
        trainer.module, module._trainer = module, trainer
        torch.save({}, tmp_path / "saved")

    monkeypatch.setattr(trainer_module, "_trainer", lambda *_: Trainer())
    monkeypatch.setattr(trainer_module, "_fit", fit)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: left.append(held[0]() is not None))
    plan = new_module((16, 16)).plan
    weights = SegmentationModule(plan, Legend(CLASSES)).state_dict()
    saved = [Saved(1, 1.0, weights)]
    monkeypatch.setattr(
        trainer_module, "read_checkpoint",
        lambda *_: saved[0] if (tmp_path / "saved").exists() else None,
    )  # fmt: skip
    dataset = SimpleNamespace(legend=Legend(CLASSES), classes=CLASSES)
    trainer_module.train(plan, [], dataset, Device("cuda", "made up"), tmp_path, Clock(3600))
    assert left == [False]


@pytest.mark.parametrize("instances", ["none", "distance"])
@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_a_whole_step_asks_nothing_and_copies_nothing(module, optimiser, instances):
    plan = module.plan.model_copy(update={"optimiser": optimiser, "instances": instances})
    chosen = SegmentationModule(plan, Legend(CLASSES)).to(META)
    chosen.log_dict = lambda *_, **__: None
    optimizer = chosen.configure_optimizers()
    average = MovingAverage(0.9)
    average.on_fit_start(SimpleNamespace(strategy=SimpleNamespace(root_device=META)), chosen)
    planes = 1 + (instances != "none")
    images = torch.randn(2, 1, *plan.patch, device=META)
    labels = torch.zeros(2, planes, *plan.patch, dtype=torch.uint8, device=META)

    def step():
        chosen.training_step((images, labels), 0)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(chosen.parameters(), plan.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        average._average_model.update_parameters(chosen)

    step()  # which moves tables of the loss there, once
    with Crossings() as crossings:
        step()
        assert crossings.noted == []
        torch.ones(3).to(META)  # and it would be seen
        assert len(crossings.noted) == 1
    with pytest.raises((RuntimeError, NotImplementedError)):
        float(torch.ones((), device=META))


class Endless(torch.utils.data.IterableDataset):
    """The same batch again and again."""

    def __init__(self, patch):
        self.batch = torch.randn(2, 1, *patch), torch.zeros(2, 1, *patch, dtype=torch.uint8)

    def __iter__(self):
        while True:
            yield self.batch


class DoneError(Exception):
    """Ends a training where it has shown what it should."""


def test_between_two_looks_lightning_asks_nothing(tmp_path, monkeypatch):
    """The training loop itself, on ``META``: whatever reads a value there ends it."""
    cards = trainer_module.STEPS_BETWEEN_LOGS["cuda"]
    monkeypatch.setitem(trainer_module.STEPS_BETWEEN_LOGS, "cpu", cards)
    monkeypatch.setattr(Watch, "on_train_batch_end", lambda *_: None)
    monkeypatch.setattr(Bar, "_may_wait", lambda *_: False)
    module, taken = new_module((16, 16)), []

    def done(self, trainer, *_):
        taken.append(trainer.global_step)
        if len(taken) == STEPS_BETWEEN_LOOKS - 1:
            raise DoneError

    monkeypatch.setattr(Checkpoint, "on_train_batch_end", done)
    dataset = SimpleNamespace(legend=Legend(CLASSES))
    device, clock = Device("cpu", "as if"), Clock(3600)
    trainer = trainer_module._trainer(module.plan, dataset, device, tmp_path, clock)
    monkeypatch.setattr(trainer.accelerator, "setup_device", lambda device: None)
    monkeypatch.setattr(trainer, "_teardown", lambda: None)
    trainer.strategy._root_device = META
    loader = torch.utils.data.DataLoader(Endless(module.plan.patch), batch_size=None)
    with trainer_module._quiet_lightning(), MadeThere() as made, pytest.raises(DoneError):
        trainer.fit(module, loader)
    assert made.noted == [(0,)], "the count of the average, when the training begins"
    with MadeThere() as made:
        torch.tensor(1.0, device=META)
    assert len(made.noted) == 1, "and it would be seen"
    assert module.device == META
    assert taken == list(range(1, STEPS_BETWEEN_LOOKS))
