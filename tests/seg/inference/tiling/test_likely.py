"""Labels of resampled logits of the classes that may win, beside those of all classes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from seg.images import Image
from seg.inference import Predictor, slab_labels
from seg.inference.labels.decision import labels_of
from seg.inference.tiling.blending import Slab
from seg.inference.tiling.likely import BLOCK, likely_labels
from seg.inference.tiling.restoring import restored
from seg.model_package import ModelPackage, write_card
from tests.packages import write_package

SIZES = st.integers(1, 2 * BLOCK + 3)
SHAPES = st.tuples(SIZES, SIZES, SIZES)


def slabs_of(logits, rows, lines=None, together=1):
    """Slabs of some rows; with ``lines``, of so many lines of each, of rows that go together."""
    _, depth, height, _ = logits.shape
    edge = lines or height
    for group in range(0, depth, rows * together):
        end = min(group + rows * together, depth)
        for top in range(0, height, edge):
            side = slice(top, min(top + edge, height)) if lines else None
            for start in range(group, end, rows):
                stop = min(start + rows, end)
                yield Slab(start, stop, logits[:, start:stop, side or slice(None)], side)


@given(
    SHAPES,
    SHAPES,
    st.integers(2, 9),
    st.sampled_from([0.0, 1.0, 3.0]),
    st.sampled_from([None, 0, 1, 2]),
    st.integers(1, 5),
    st.sampled_from([None, 1, 5, BLOCK, BLOCK + 1, 2 * BLOCK]),
    st.integers(1, 3),
    st.integers(0, 2**31),
)
def test_labels_are_those_of_all_classes(
    grid, shape, classes, smooth, nearest, rows, lines, together, seed
):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 8, (classes, *grid)).astype(np.float32)
    logits = np.round(ndimage.gaussian_filter(logits, (0, smooth, smooth, smooth)), 1)  # ties too
    wanted = np.zeros(shape, np.uint8)
    for slab in restored(slabs_of(logits, rows), grid, shape, nearest):
        wanted[slab.start : slab.stop] = labels_of(slab.logits)
    found = np.full(shape, 255, np.uint8)
    cut = slabs_of(logits, rows, lines, together)
    for _, start, part in likely_labels(cut, grid, shape, nearest):
        if part is not None:
            found[start : start + len(part)] = part
    assert np.array_equal(found, wanted)


def test_a_logit_that_is_no_number_leaves_the_labels_as_they_were():
    logits = np.random.default_rng(0).normal(size=(4, 9, 9, 9)).astype(np.float32)
    logits[2, 4, 4, 4] = np.nan
    shape = (18, 18, 18)
    wanted = np.concatenate(
        [labels_of(slab.logits) for slab in restored(slabs_of(logits, 9), (9, 9, 9), shape)]
    )
    ((_, _, found),) = likely_labels(slabs_of(logits, 9), (9, 9, 9), shape)
    assert np.array_equal(found, wanted)


def package_in(folder: Path, **preprocessing) -> ModelPackage:
    """Of volumes with voxels of 2 mm."""
    write_package(folder, patch=(8, 16, 16))
    card = ModelPackage.load(folder).card
    changed = card.input.preprocessing.model_copy(
        update={"spacing": (2.0, 2.0, 2.0), **preprocessing}
    )
    own = card.input.model_copy(update={"preprocessing": changed})
    write_card(folder, card.model_copy(update={"input": own}))
    return ModelPackage.load(folder)


def volume() -> Image:
    noise = np.random.default_rng(3).uniform(0, 255, (1, 33, 46, 40))
    smooth = ndimage.gaussian_filter(noise, (0, 4, 4, 4))
    smooth = 255 * (smooth - smooth.min()) / np.ptp(smooth)
    return Image(smooth.astype(np.uint8), spacing=(1.0, 0.9, 0.9))


@pytest.mark.parametrize("convention", ["seg", "nnunet"])
def test_a_large_volume_gets_the_mask_of_a_small_one_and_nearly_its_quality(
    tmp_path, convention, monkeypatch
):
    asked = Predictor(package_in(tmp_path / "package", convention=convention))
    image = volume()
    small = asked.segment(image)
    calls = []
    likely = slab_labels.likely_labels
    monkeypatch.setattr(slab_labels, "MANY_LOGITS", 0)
    monkeypatch.setattr(
        slab_labels, "likely_labels", lambda *given: calls.append(given) or likely(*given)
    )
    large = asked.segment(image)
    assert len(calls) == 1
    assert np.array_equal(small.mask.array, large.mask.array)
    assert len(np.unique(large.mask.array)) == 3
    assert large.quality.uncertainty == pytest.approx(small.quality.uncertainty, abs=0.01)
    streamed = np.concatenate([rows for _, rows in asked.label_rows(image)])
    assert np.array_equal(streamed, large.mask.array)


def test_maps_of_a_large_volume_are_those_of_a_small_one(tmp_path, monkeypatch):
    asked = Predictor(package_in(tmp_path / "package"))
    small = asked.segment(volume(), maps=["uncertainty"])
    monkeypatch.setattr(slab_labels, "MANY_LOGITS", 0)
    large = asked.segment(volume(), maps=["uncertainty"])
    assert np.array_equal(small.maps["uncertainty"].array, large.maps["uncertainty"].array)
