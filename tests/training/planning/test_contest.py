"""``--weights auto``: what is at hand is tried, and cases held back decide."""

from pathlib import Path

import pytest
import safetensors.torch
import torch

from data.phantom import draw
from seg.errors import ConfigError
from seg.machine import cache_folder
from seg.networks.foreign.encoders import make
from training.dataset import load_dataset
from training.learning.trial import Trial
from training.plan import main
from training.planning.contest import (
    WEIGHTS_FOLDER,
    check_contest,
    is_worth_a_trial,
    lead_over,
    rivals_at_hand,
    winner,
)
from training.planning.options import PlanOptions
from training.planning.planner import check_asked
from training.reports.plan_in_words import plan_in_words
from training.run.device import find_device
from training.run.plan_yaml import read_plan

ENCODER = "tu-test_resnet"
SMALL = ["--batch-size", "2", "--precision", "float32", "--patch", "64", "64"]


@pytest.fixture
def nothing_at_hand(tmp_path, monkeypatch):
    """A machine of its own: no cache, and no folder of fetched data."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def at_hand(nothing_at_hand):
    """Weights of one small encoder."""
    file = cache_folder() / WEIGHTS_FOLDER / f"{ENCODER}.safetensors"
    file.parent.mkdir(parents=True)
    torch.manual_seed(3)
    safetensors.torch.save_file(make(ENCODER, 3).state_dict(), file)
    return file


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("data") / "phantom", cases=4, size=(64, 64))


def test_the_better_on_cases_held_back_is_planned_and_the_plan_says_why(phantom, at_hand, tmp_path):
    file = tmp_path / "plan.yaml"
    arguments = ["--out", str(file), "--weights", "auto", "--steps", "20"]
    assert main([str(phantom), *arguments, *SMALL]) == 0
    plan = read_plan(file)
    own, rival = plan.contest
    assert (own.network, own.weights, own.steps) == ("resunet-s", None, 2)
    assert (rival.network, rival.weights, rival.steps) == (f"smp:unet/{ENCODER}", str(at_hand), 2)
    assert (own.lead, rival.lead, rival.ci95) == (None, pytest.approx(rival.dice - own.dice), None)
    best = rival if rival.lead >= 0.01 else own
    assert (plan.network, plan.weights) == (best.network, best.weights)
    assert plan.steps == 20
    words = dict(plan_in_words(plan, 1, ["nuclei", "cells"]))["Chosen by"]
    assert f"{best.network} with {best.weights or 'random'} weights: {best.dice:.3f}" in words
    assert "equal shares of the steps" in words
    assert "interval of its lead over resunet-s lies above 0" in words


NAN = float("nan")


@pytest.mark.parametrize(
    ("dice", "place"),
    [
        pytest.param([(0.6,), (0.62,)], 1, id="one case, and a lead that is large enough"),
        pytest.param([(0.6,), (0.609,)], 0, id="one case, and a lead that is not"),
        pytest.param([(0.6,), (0.6,)], 0, id="what needs no weights where both are alike"),
        pytest.param([(0.6,), (0.62,), (0.65,)], 2, id="the best of those ahead"),
        pytest.param([(0.5, 0.6, 0.7), (0.505, 0.604, 0.706)], 1, id="small, the same in all"),
        pytest.param([(0.5, 0.6, 0.7), (0.6, 0.6, 0.69)], 0, id="large, in one case alone"),
        pytest.param([(0.5, 0.6, 0.7), (0.5, 0.6, 0.7)], 0, id="three that are the same"),
        pytest.param([(NAN,), (0.1,)], 0, id="nothing to compare"),
        pytest.param([(NAN, 0.3), (0.2, 0.32)], 1, id="what one of them lacks counts for neither"),
    ],
)
def test_the_encoder_that_is_surely_ahead_wins_whatever_its_name(dice, place):
    first, *others = (Trial(None, 1, each) for each in dice)
    subjects = [str(case) for case in range(len(first.dice))]
    assert winner([lead_over(first, other, subjects) for other in others]) == place


def test_slices_of_one_subject_are_no_evidence_of_their_own():
    first, other = Trial(None, 1, (0.5,) * 6), Trial(None, 1, (0.505,) * 6)
    lead = lead_over(first, other, ["a", "a", "a", "b", "b", "b"])
    assert lead.cases == 2
    assert winner([lead]) == 0


def test_weights_in_the_hub_s_cache_are_at_hand(at_hand, tmp_path):
    for name, size in (
        ("timm--resnet10t.c3_in1k", 10),
        ("smp-hub--timm-efficientnet-b0.noisy-student", 20),
        ("somebody--else", 1),
    ):
        folder = tmp_path / "hub" / f"models--{name}" / "snapshots" / ("a" * 40)
        folder.mkdir(parents=True)
        (folder.parent.parent / "refs").mkdir()
        (folder / "model.safetensors").write_bytes(bytes(size))
    assert [(rival.network, rival.weights) for rival in rivals_at_hand()] == [
        ("smp:unet/tu-resnet10t.c3_in1k", "imagenet"),
        ("smp:unet/timm-efficientnet-b0", "noisy-student"),
        (f"smp:unet/{ENCODER}", str(at_hand)),
    ]


def test_weights_that_turn_out_to_be_of_another_encoder_end_no_planning(
    phantom, at_hand, tmp_path, caplog
):
    safetensors.torch.save_file({"other": torch.zeros(1)}, at_hand)
    file = tmp_path / "plan.yaml"
    arguments = ["--out", str(file), "--weights", "auto", "--steps", "2"]
    assert main([str(phantom), *arguments, *SMALL]) == 0
    assert f"smp:unet/{ENCODER} is left out" in caplog.text
    assert [each.network for each in read_plan(file).contest] == ["resunet-s"]


@pytest.mark.parametrize(
    ("chosen", "tried"),
    [
        ({"minutes": 10.0}, True),
        pytest.param({"minutes": 9.9}, False, id="too little time"),
        pytest.param({"minutes": 10.0, "weights": None}, False, id="none wanted"),
        pytest.param({"minutes": 10.0, "network": "resunet-s"}, False, id="a network by name"),
        pytest.param({"minutes": 10.0, "steps": 500}, False, id="steps that repeat exactly"),
        pytest.param({"minutes": 10.0, "shortcut": "gated"}, False, id="our own blocks"),
    ],
)
def test_where_nobody_asked_encoders_at_hand_are_tried_if_there_is_time(
    chosen, tried, phantom, at_hand
):
    assert is_worth_a_trial(chosen, load_dataset(phantom), find_device()) is tried


def test_where_nothing_is_at_hand_nothing_is_tried(phantom, nothing_at_hand):
    assert not is_worth_a_trial({"minutes": 60.0}, load_dataset(phantom), find_device())


def test_nothing_at_hand_is_one_sentence_with_what_brings_some(phantom, nothing_at_hand):
    with pytest.raises(ConfigError, match=r"python -m data.fetch efficientnet-lite0 brings some"):
        check_contest({"weights": "auto"}, load_dataset(phantom))


def test_a_network_by_name_leaves_nothing_to_choose(phantom, at_hand):
    with pytest.raises(ConfigError, match="leave --network and --from out"):
        check_contest({"weights": "auto", "network": "tu-resnet18"}, load_dataset(phantom))


@pytest.mark.parametrize("other", [{"plan": Path("plan.yaml")}, {"as_nnunet": "ResEncUNetM"}])
def test_another_s_plan_leaves_nothing_to_choose_either(other):
    options = PlanOptions(chosen={"weights": "auto"}, **other)
    with pytest.raises(ConfigError, match="leave --plan and --as-nnunet out"):
        check_asked(options, find_device())


@pytest.mark.parametrize("asked", [{"minutes": 2}, {"minutes": 12, "folds": 4}])
def test_too_few_minutes_for_a_trial_are_told(asked, phantom, at_hand):
    with pytest.raises(ConfigError, match=r"give at least --minutes 3.3"):
        check_contest({"weights": "auto", **asked}, load_dataset(phantom))


def test_volumes_have_no_encoder_of_pictures(at_hand, tmp_path):
    volumes = draw(tmp_path / "volumes", cases=3, size=(8, 32, 32), dims=3)
    with pytest.raises(ConfigError, match="encoders of pictures take no volumes"):
        check_contest({"weights": "auto"}, load_dataset(volumes))
