"""What all objects show, told from images with their labels."""

import numpy as np
import pytest
from numpy.random import default_rng
from scipy import ndimage

from seg.inference.tiling.standing import founded, plain_extremes, reaching
from training.packaging.standing import rule_of, rule_of_some

SIZE = 128


def well(seed, cells, contrast=4.0):
    """Round cells of 12 to 20 pixels on noise of 0.3, and their mask."""
    rng = default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    labels = np.zeros((SIZE, SIZE), np.uint8)
    for place in rng.permutation(16)[:cells]:
        cy, cx = np.array(divmod(place, 4)) * 32 + 16
        labels[(y - cy) ** 2 + (x - cx) ** 2 < rng.uniform(6, 10) ** 2] = 1
    image = contrast * ndimage.gaussian_filter(labels.astype(float), 1.5)
    return (image + rng.normal(0, 0.3, image.shape)).astype(np.float32)[None], labels


def kept(rule, image, labels):
    found = reaching(*plain_extremes(image, rule.smoothing, rule.core), rule.levels)
    return founded(labels > 0, found, rule)[1]


@pytest.mark.parametrize("sign", [1, -1], ids=["bright", "dark"])
def test_cells_of_other_images_stay_whole_and_noise_holds_none(sign):
    cases = [well(seed, 12) for seed in range(4)]
    rule = rule_of([(sign * image, labels) for image, labels in cases], (1.0, 1.0))
    assert [level.side for level in rule.levels] == ["above" if sign == 1 else "below"]
    image, labels = well(9, 5)
    assert kept(rule, sign * image, labels).sum() >= 0.999 * (labels > 0).sum()
    empty, _ = well(10, 0)
    assert not kept(rule, sign * empty, np.ones((SIZE, SIZE))).any()


def test_few_objects_do_not_say_how_faint_and_how_large_others_are():
    few, many = ([well(seed, 12) for seed in range(n)] for n in (1, 8))
    faint, labels = well(9, 5, contrast=1.2)
    assert kept(rule_of(many, (1.0, 1.0)), faint, labels).sum() < 0.8 * labels.sum()
    rule = rule_of(few, (1.0, 1.0))
    assert kept(rule, faint, labels).sum() > 0.95 * labels.sum()
    empty, _ = well(10, 0)
    assert not kept(rule, empty, np.ones((SIZE, SIZE))).any()


def test_objects_as_faint_as_the_noise_make_no_rule():
    assert rule_of([well(seed, 12, contrast=0.5) for seed in range(4)], (1.0, 1.0)) is None


def test_objects_that_are_told_by_their_texture_make_no_rule():
    def case(seed):
        _, labels = well(seed, 12)
        noise = default_rng(seed).normal(0, 1, labels.shape)
        return np.where(labels > 0, 3 * noise, noise).astype(np.float32)[None], labels

    assert rule_of([case(seed) for seed in range(4)], (1.0, 1.0)) is None


def test_images_without_objects_make_no_rule():
    assert rule_of([well(0, 0)], (1.0, 1.0)) is None


def test_the_reach_is_as_far_in_mm_along_every_axis():
    cases = [well(seed, 12) for seed in range(4)]
    fine = rule_of(cases, (1.0, 1.0))
    coarse = rule_of(cases, (2.0, 2.0))
    assert fine.reach == coarse.reach
    assert fine.reach[0] <= 10


def test_kernels_stand_out_of_faint_cells_by_themselves():
    def case(seed):
        image, kernels = well(seed, 12)
        return image, np.where(
            kernels > 0, 2, ndimage.binary_dilation(kernels > 0, iterations=4)
        ).astype(np.uint8)

    cases = [case(seed) for seed in range(4)]
    assert rule_of(cases, (1.0, 1.0)) is None
    rule = rule_of_some(cases, (1.0, 1.0))
    assert rule.classes == (2,)
    image, labels = case(9)
    assert kept(rule, image, labels == 2).sum() >= 0.999 * (labels == 2).sum()
    empty, _ = well(10, 0)
    assert not kept(rule, empty, np.ones((SIZE, SIZE))).any()


def test_a_channel_that_shows_nothing_does_not_matter():
    def case(seed):
        image, labels = well(seed, 12)
        return np.concatenate([image, default_rng(seed).normal(0, 1, image.shape)]).astype(
            np.float32
        ), labels

    shown, blind = rule_of([case(seed) for seed in range(4)], (1.0, 1.0)).levels
    assert shown is not None
    assert blind is None
