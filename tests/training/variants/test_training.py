"""Training that prepares for dropped blocks and for small students."""

import pytest
import torch

from seg.networks import ResidualUNet
from training.dataset import load_dataset
from training.learning.module import SegmentationModule
from training.learning.teacher_loss import distillation_loss
from training.planning.command_line import command_line, options_from
from training.run.plan import changed_plan
from training.run.plan_yaml import read_plan


@pytest.fixture
def module(run):
    plan = changed_plan(read_plan(run.plan), {"sandwich_share": 0.5})
    return SegmentationModule(plan, load_dataset(run.path / "data").legend)


def skipped(module, step, progress, monkeypatch):
    monkeypatch.setattr(SegmentationModule, "global_step", property(lambda _: step))
    module.progress = progress
    torch.manual_seed(step)
    return module._skipped()


def test_late_steps_train_whole_and_shallow_networks_in_turn(module, monkeypatch):
    blocks = set(module.network.droppable_blocks(reshaping=True))
    late = [skipped(module, step, 0.9, monkeypatch) for step in range(40)]
    assert not any(late[::2])
    assert all(each and set(each) <= blocks for each in late[1::2])
    assert {len(each) for each in late[1::2]} == set(range(1, len(blocks) + 1))


def test_early_steps_train_the_whole_network(module, monkeypatch):
    assert not any(skipped(module, step, 0.4, monkeypatch) for step in range(10))


def test_elastic_is_what_the_plan_says_and_can_be_changed():
    chosen = options_from(command_line().parse_args(["--elastic"])).chosen
    assert chosen["stochastic_depth"] > 0
    assert chosen["sandwich_share"] > 0
    assert "stochastic_depth" not in options_from(command_line().parse_args([])).chosen


def test_stochastic_depth_reaches_the_network(run):
    plan = changed_plan(read_plan(run.plan), {"stochastic_depth": 0.3})
    rates = [m.rate for m in ResidualUNet(plan.network_config(3)).modules() if hasattr(m, "rate")]
    assert rates[-1] == pytest.approx(0.3)


def test_a_student_is_best_where_it_says_what_its_teacher_says(run):
    legend = load_dataset(run.path / "data").legend
    torch.manual_seed(0)
    teacher = ResidualUNet(read_plan(run.plan).network_config(legend.outputs)).eval()
    images = torch.randn(2, 2, 32, 32)
    said = teacher(images).detach()
    logits = said.clone().requires_grad_()
    distillation_loss(logits, teacher, images, legend).backward()
    assert float(logits.grad.abs().max()) < 1e-8
    other = said + torch.randn_like(said)
    assert distillation_loss(other, teacher, images, legend) > distillation_loss(
        said, teacher, images, legend
    )


def test_a_teacher_is_not_saved_with_its_student(run):
    plan, legend = read_plan(run.plan), load_dataset(run.path / "data").legend
    teacher = ResidualUNet(plan.network_config(legend.outputs))
    alone, taught = (SegmentationModule(plan, legend, teacher=each) for each in (None, teacher))
    assert taught.state_dict().keys() == alone.state_dict().keys()
