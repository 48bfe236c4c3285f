from dataclasses import replace

import numpy as np
import pytest
from numpy.random import default_rng
from PIL import Image as Picture
from scipy import ndimage

from data.phantom import draw
from seg.errors import ConfigError
from training.augment import main
from training.dataset.painting import PALENESS, faded, painted_out, with_artefact
from training.reports.augmented_sheet import GAP
from training.samples import augmentation as module
from training.samples.augmentation import PRESETS, Augmentation

PATCHES = [(32, 32), (24, 40), (8, 24, 24), (16, 16, 16)]


def sample(augmentation, channels, seed):
    """A bright disc whose mask is known, and the same after augmentation."""
    rng = default_rng(seed)
    shape = augmentation.region(rng)
    places = np.indices(shape)
    labels = sum((p - n / 2) ** 2 for p, n in zip(places, shape, strict=True)) < 40
    image = np.where(labels, 5.0, 0.0).astype(np.float32)
    return augmentation(np.stack([image] * channels), labels.astype(np.uint8), rng)


def test_each_object_is_made_paler_by_itself_and_nothing_else_is_changed():
    labels = np.zeros((64, 64), np.uint8)
    labels[8:16, 8:16] = labels[40:48, 40:48] = 1
    labels[:, 60:] = 255
    image = (1 + 8.0 * (labels == 1) + 3.0 * (labels == 255)).astype(np.float32)[None]
    seen = []
    for seed in range(20):
        made = faded(image, labels, default_rng(seed))
        np.testing.assert_array_equal(made[0][labels != 1], image[0][labels != 1])
        levels = [np.unique(made[0, at : at + 8, at : at + 8]) for at in (8, 40)]
        assert [len(each) for each in levels] == [1, 1]
        seen.append([(float(each[0]) - 1) / 8 for each in levels])
    assert PALENESS[0] <= np.min(seen) < 0.3
    assert 1 < np.max(seen) <= PALENESS[1]
    assert np.abs(np.diff(seen)).max() > 0.5, "a pale one beside a bright one"


@pytest.mark.parametrize("patch", PATCHES)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_patch_comes_out_in_its_own_size(patch, preset):
    augmentation = Augmentation(preset, patch)
    for seed in range(6):
        image, labels = sample(augmentation, 2, seed)
        assert image.shape == (2, *patch)
        assert image.dtype == np.float32
        assert labels.shape == patch
        assert labels.dtype == np.uint8


@pytest.mark.parametrize("patch", PATCHES)
@pytest.mark.parametrize("preset", ["medical", "microscopy"])
def test_labels_move_with_the_image(patch, preset, monkeypatch):
    monkeypatch.setattr(module, "with_artefact", lambda image, rng: image)  # it marks nothing
    augmentation = Augmentation(preset, patch)
    for seed in range(10):
        image, labels = sample(augmentation, 1, seed)
        bright = image[0] > (image[0].max() + image[0].min()) / 2
        agreement = 2 * (bright & (labels == 1)).sum() / (bright.sum() + labels.sum())
        assert agreement > 0.85


@pytest.mark.parametrize("patch", PATCHES)
def test_labels_are_mirrored_with_the_image_where_nothing_is_turned(patch, monkeypatch):
    light = replace(module.STRENGTHS["light"], turns=0.0)  # every patch takes the un-turned way
    monkeypatch.setitem(module.STRENGTHS, "light", light)
    augmentation = Augmentation("light", patch)
    augmentation._intensities = None
    labels = default_rng(0).integers(0, 3, patch).astype(np.uint8)  # alike in no mirror
    seen = set()
    for seed in range(12):
        image, moved = augmentation(labels[None].astype(np.float32), labels, default_rng(seed))
        np.testing.assert_array_equal(image[0], moved)
        seen.add(moved.tobytes())
    assert len(seen) > 2


@pytest.mark.parametrize("patch", PATCHES)
def test_the_same_generator_gives_the_same_patch(patch):
    augmentation = Augmentation("strong", patch)
    first, second = (sample(augmentation, 1, seed=7) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_intensities_outside_of_0_and_1_survive():
    image, _ = sample(Augmentation("light", (32, 32)), 1, seed=0)
    assert image.max() == 5


def test_none_changes_nothing():
    image = default_rng(0).normal(size=(1, 8, 8)).astype(np.float32)
    labels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    changed = Augmentation("none", (8, 8))(image, labels, default_rng(1))
    np.testing.assert_array_equal(changed[0], image)
    np.testing.assert_array_equal(changed[1], labels)


def test_an_unknown_preset_is_answered_with_those_there_are():
    with pytest.raises(
        ConfigError, match="one of none, light, robust, medical, microscopy, strong, got 'wild'"
    ):
        Augmentation("wild", (8, 8))


@pytest.mark.parametrize("size", [(48, 64), (8, 24, 24)])
def test_the_command_draws_a_sheet(tmp_path, size, capsys):
    data = draw(tmp_path / "data", dims=len(size), cases=3, size=size)
    sheet = tmp_path / "sheet.png"
    patch = [str(n) for n in (16, 16, 16)[: len(size)]]
    assert main([str(data), "--preset", "strong", "--patch", *patch, "--out", str(sheet)]) == 0
    picture = np.asarray(Picture.open(sheet))
    edge = 16 + GAP
    assert picture.shape == (4 * edge, 8 * edge, 3)
    plain, *changed = np.split(picture[:edge], 8, axis=1)
    assert all((plain != each).any() for each in changed)


def test_a_patch_of_the_wrong_dimensions_is_one_sentence(tmp_path, capsys):
    data = draw(tmp_path / "data", cases=3, size=(48, 64))
    assert main([str(data), "--patch", "8", "8", "8", "--out", str(tmp_path / "s.png")]) == 2
    assert "--patch needs 2 numbers" in capsys.readouterr().err


def spotted(shape):
    rng = default_rng(3)
    labels = np.zeros(shape, np.uint8)
    labels[..., 4:9, 5:11], labels[..., 18:24, 20:26] = 1, 2
    image = rng.normal(0, 0.1, (2, *shape)).astype(np.float32) + 5 * (labels > 0)
    return image.astype(np.float32), labels


@pytest.mark.parametrize("shape", [(32, 40), (4, 32, 40)])
def test_a_share_of_the_patches_shows_background_alone(shape):
    image, labels = spotted(shape)
    emptied = 0
    augmentation = Augmentation("none", shape, empty_share=0.3)
    for seed in range(60):
        changed, marked = augmentation(image.copy(), labels.copy(), default_rng(seed))
        if not marked.any():
            emptied += 1
            assert changed.max() < 1  # background that was elsewhere in the patch
            assert changed.std() == pytest.approx(0.1, rel=0.2)
    assert 8 <= emptied <= 28


def test_a_patch_full_of_objects_is_not_painted_out():
    image, labels = np.ones((1, 16, 16), np.float32), np.ones((16, 16), np.uint8)
    _, marked = Augmentation("none", (16, 16), empty_share=1.0)(image, labels, default_rng(0))
    assert marked.all()


def test_what_nobody_annotated_is_not_painted_out():
    image, labels = spotted((32, 40))
    labels[:, :3] = 255
    _, marked = Augmentation("none", (32, 40), empty_share=1.0)(image, labels, default_rng(0))
    assert set(np.unique(marked)) == {0, 255}


def test_the_rim_of_what_nobody_annotated_is_no_background_to_paint_with():
    image, labels = spotted((32, 40))
    image = np.where(labels == 2, 0, image).astype(np.float32)
    ignored = labels == 2
    labels[ignored] = 255
    rim = ndimage.binary_dilation(ignored, iterations=3) & ~ignored
    image[:, rim] = 9
    for seed in range(5):
        painted, _ = painted_out(image, labels, default_rng(seed))
        assert (painted[:, ~rim] < 1).all()


def test_objects_of_a_patch_that_is_annotated_in_a_corner_are_painted_out_with_its_texture():
    image = np.broadcast_to(default_rng(0).random(96, np.float32), (1, 96, 96)).copy()
    labels = np.full((96, 96), 255, np.uint8)
    labels[:40, :40] = 0  # a sixth of the patch
    labels[12:24, 12:24] = 1
    image[0, labels == 1] = 9
    image[0, labels == 255] = 5
    for seed in range(5):
        painted, marked = painted_out(image, labels, default_rng(seed))
        assert not (marked == 1).any()
        filled = painted[0, 12:24, 12:24]
        assert filled.max() < 1
        assert (np.diff(filled, axis=0) == 0).mean() > 0.6, "columns are of one brightness"


@pytest.mark.parametrize("shape", [(32, 40), (4, 32, 40)])
def test_an_artefact_outshines_all_else_and_marks_nothing(shape):
    image, _ = spotted(shape)
    for seed in range(5):
        changed = with_artefact(image, default_rng(seed))
        assert (changed >= image).all()
        assert changed.max() > image.max()


@pytest.mark.parametrize(("patch", "axis"), [((24, 32), 1), ((32, 32), 1), ((32, 32), 0),
                                             ((8, 24, 24), 2), ((16, 16, 16), 0)])  # fmt: skip
@pytest.mark.parametrize("preset", ["light", "medical", "microscopy", "strong"])
def test_what_lies_left_stays_left_where_that_axis_is_not_mirrored(preset, patch, axis):
    others = [each for each in range(len(patch)) if each != axis]
    augmentation = Augmentation(preset, patch, mirror_axes=others)
    seen = set()
    for seed in range(30):
        rng = default_rng(seed)
        region = augmentation.region(rng)
        places = np.indices(region)
        labels = np.where(places[axis] < region[axis] / 2, 1, 2).astype(np.uint8)
        first = others[-1]
        labels[(places[axis] < region[axis] / 2) & (places[first] < region[first] / 2)] = 3
        _, moved = augmentation(labels[None].astype(np.float32), labels, rng)
        middle = [np.argwhere((moved == 2) if n == 2 else (moved != 2))[:, axis].mean()
                  for n in (1, 2)]  # fmt: skip
        assert middle[0] < middle[1]
        where = np.argwhere(moved == 3)[:, first].mean(), np.argwhere(moved == 1)[:, first].mean()
        seen.add(where[0] < where[1])
    assert seen == {True, False}  # the other axes are mirrored
