import numpy as np
import pytest
from numpy.random import default_rng

from training.evaluation.trust.degradations import DEGRADATIONS, degradations_of, degraded


def cells(shape, dtype=np.uint16):
    rng = default_rng(0)
    labels = np.zeros(shape, np.uint8)
    for y in range(6, shape[-2] - 6, 16):
        for x in range(6, shape[-1] - 6, 16):
            labels[..., y : y + 6, x : x + 6] = 1
    image = 1000 + 500.0 * labels + rng.normal(0, 20, (2, *shape))
    return image.astype(dtype), labels


@pytest.mark.parametrize("shape", [(64, 80), (6, 64, 80)])
@pytest.mark.parametrize("way", DEGRADATIONS)
def test_image_and_labels_stay_in_step_and_in_their_type(way, shape):
    image, labels = cells(shape)
    changed, moved = degraded(way, image, labels, 0.5, default_rng(1))
    assert changed.shape[1:] == moved.shape
    assert (changed.dtype, moved.dtype) == (image.dtype, labels.dtype)
    assert changed.shape != image.shape or (changed != image).any()
    if way not in ("inverted", "noise", "bit depth", "dropped channel", "nearly empty"):
        assert changed[0][moved == 1].mean() > changed[0][moved == 0].mean()


@pytest.mark.parametrize("way", ["noise", "blur", "contrast", "uneven light"])
def test_more_strength_does_more_harm(way):
    image, labels = cells((64, 80), np.float32)
    weak, strong = (
        np.abs(degraded(way, image, labels, s, default_rng(1))[0] - image).mean() for s in (0, 1)
    )
    assert strong > 1.5 * weak


def test_a_nearly_empty_image_keeps_at_most_two_objects_whole():
    image, labels = cells((64, 80))
    for strength, left in ((0.0, 2), (1.0, 0)):
        changed, moved = degraded("nearly empty", image, labels, strength, default_rng(2))
        assert moved.sum() == left * 36
        assert (changed[0] > 1300).sum() == moved.sum()


def test_only_what_may_happen_to_such_images_is_tried():
    assert "dropped channel" not in degradations_of(2, channels=1)
    assert "turned" not in degradations_of(2, channels=2)
    assert {"turned", "dropped channel"} <= set(degradations_of(3, channels=2))
