import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from seg.errors import ImageTooLargeError
from seg.objects.blocks import Evidence, decode
from seg.objects.flooding import SeedRule, flooded


def tissue(seed: int, shape, roughness: float, classes: int = 2) -> Evidence:
    """Confluent blobs with plateaus, as a network's answer has them at its worst."""
    rng = np.random.default_rng(seed)
    heights = ndimage.gaussian_filter(rng.normal(size=shape), roughness)
    heights = (heights - heights.min()) / np.ptp(heights)
    kinds = ndimage.gaussian_filter(rng.normal(size=shape), 2 * roughness)
    index = np.digitize(kinds, np.quantile(kinds, np.linspace(0, 1, classes + 2)[1:-1]))
    return Evidence(index.astype(np.uint8), (heights * 255 // 16 * 16).astype(np.uint8))


RULES = {1: SeedRule(150, 3, 8), 2: SeedRule(120, 1, 5)}


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    shape=st.one_of(
        st.tuples(st.integers(5, 70), st.integers(5, 70)),
        st.tuples(st.integers(2, 9), st.integers(5, 24), st.integers(5, 24)),
    ),
    block=st.integers(3, 40),
    halo=st.integers(0, 20),
    roughness=st.floats(0.5, 3),
)
def test_objects_are_the_same_whatever_the_blocks(seed, shape, block, halo, roughness):
    evidence = tissue(seed, shape, roughness)
    whole = flooded(evidence.classes, evidence.heights, RULES)
    labels = np.zeros(shape, np.uint32)
    found = decode(evidence, RULES, labels, block=block, halo=halo)
    np.testing.assert_array_equal(labels, whole.labels)
    np.testing.assert_array_equal(found.classes, whole.classes)
    np.testing.assert_array_equal(found.first, whole.first)


def test_an_object_over_the_whole_image_is_looked_at_once_for_all_blocks(monkeypatch):
    evidence = Evidence(np.ones((64, 64), np.uint8), np.full((64, 64), 200, np.uint8))
    labels = np.zeros((64, 64), np.uint32)
    found = decode(evidence, {1: SeedRule(100)}, labels, block=8, halo=2)
    assert (labels == 1).all()
    assert found.again == 1
    monkeypatch.setattr("seg.objects.blocks.MOST", 63 * 63)
    with pytest.raises(ImageTooLargeError, match="coarser resolution"):
        decode(evidence, {1: SeedRule(100)}, labels, block=8, halo=2)


def test_two_cores_in_one_region_share_it_at_the_valley_between():
    classes = np.ones((5, 11), np.uint8)
    heights = np.tile(
        np.array([200, 200, 200, 90, 80, 60, 70, 90, 200, 200, 200], np.uint8), (5, 1)
    )
    labels = flooded(classes, heights, {1: SeedRule(128)}).labels
    assert (labels[:, :5] == 1).all()
    assert (labels[:, 6:] == 2).all()


def test_a_region_without_a_core_is_one_object_and_a_speck_is_none():
    classes = np.zeros((9, 9), np.uint8)
    classes[1:4, 1:4] = 1
    classes[7, 7] = 1
    found = flooded(classes, np.zeros_like(classes), {1: SeedRule(128, smallest=2)})
    assert found.labels.max() == 1
    assert (found.labels > 0).sum() == 9


def test_what_is_cut_at_an_open_side_is_not_said_to_be_complete():
    classes = np.zeros((8, 8), np.uint8)
    classes[2:5, :3] = 1
    classes[6:, 5:7] = 1
    heights = classes * np.uint8(255)
    found = flooded(classes, heights, {1: SeedRule(128)}, [(False, False), (True, False)])
    assert (found.labels[2:5, :3] == -1).all()
    assert found.complete.tolist() == [True]
    assert (found.labels[6:, 5:7] == 1).all()
