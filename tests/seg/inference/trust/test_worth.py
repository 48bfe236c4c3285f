"""Which images are worth a person's time."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seg.images import Image
from seg.inference.trust import worth
from seg.inference.trust.worth import ImageLook, described, ranked, soft_dice_of


def look(dice, *place, warnings=0, objects=10):
    return ImageLook(
        predicted_dice=dice,
        warnings=warnings,
        objects=objects,
        described=np.array(place, np.float64),
    )


def names(order):
    return [each.name for each in order]


def test_the_worst_comes_first_and_its_double_last():
    looks = {
        "good": look(0.95, 9, 0),
        "bad": look(0.4, 0, 0),
        "as bad and alike": look(0.41, 0.01, 0),
        "middling": look(0.7, 0, 9),
    }
    assert names(ranked(looks)) == ["bad", "middling", "good", "as bad and alike"]


def test_what_is_annotated_already_is_not_asked_for_again():
    looks = {"alike": look(0.4, 0, 0), "new": look(0.5, 9, 0)}
    assert names(ranked(looks, [np.array([0.1, 0.0])])) == ["new", "alike"]


def test_an_image_unlike_the_training_comes_before_one_that_is_familiar():
    looks = {"familiar": look(0.8, 0, 0), "strange": look(0.8, 9, 0, warnings=1)}
    assert names(ranked(looks)) == ["strange", "familiar"]


def test_a_network_s_own_doubts_count_where_its_package_predicts_no_dice():
    sure, unsure = (np.stack([np.full((4, 4), 1 - p), np.full((4, 4), p)]) for p in (0.95, 0.6))
    assert soft_dice_of(sure) == pytest.approx(2 * 0.95 / 1.95)
    assert soft_dice_of(1 - sure) is None, "nothing is found"
    looks = {
        name: replace(look(None, 0, 0), soft_dice=soft_dice_of(shares))
        for name, shares in {"sure": sure, "unsure": unsure}.items()
    }
    assert looks["sure"].need < looks["unsure"].need < 0.5
    assert replace(looks["unsure"], predicted_dice=0.99).need < looks["sure"].need


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(1, 500))
def test_a_budget_is_kept_and_its_images_begin_the_whole_order(dices, seconds):
    looks = {f"{n}": look(dice, n, dice) for n, dice in enumerate(dices)}
    every, some = ranked(looks), ranked(looks, seconds=seconds)
    assert sorted(names(every)) == sorted(looks)
    assert names(every)[: len(some)] == names(some)
    assert len(some) == 1 or sum(each.seconds for each in some) <= seconds


def test_of_very_many_images_the_first_are_those_of_the_whole_order(monkeypatch):
    rng = np.random.default_rng(0)
    looks = {f"{n}": look(rng.random(), *rng.random(2)) for n in range(40)}
    every = names(ranked(looks))
    monkeypatch.setattr(worth, "CHOSEN_BY_ALL", 5)
    monkeypatch.setattr(worth, "COMPARED", 40)
    some = names(ranked(looks))
    assert some[:6] == every[:6]
    assert sorted(some) == sorted(every)
    assert some != every


def test_images_are_described_alike_where_they_are_alike():
    rng = np.random.default_rng(0)
    one, other = (Image(rng.integers(0, 200, (1, 64, 64)).astype(np.uint8)) for _ in range(2))
    bright = Image(np.clip(one.array + 50, 0, 255).astype(np.uint8))
    apart = [np.abs(described(one) - described(each)).max() for each in (other, bright)]
    assert apart[0] < apart[1] / 5
    assert described(one, np.full((2, 64, 64), 0.5, np.float16)).shape == (10,)
