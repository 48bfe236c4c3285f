import numpy as np
import pytest
from numpy.random import default_rng
from PIL import Image as Picture

from data.phantom import draw
from seg.errors import ConfigError
from training.augment import main
from training.reports.augmented_sheet import GAP
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
def test_labels_move_with_the_image(patch, preset):
    augmentation = Augmentation(preset, patch)
    for seed in range(10):
        image, labels = sample(augmentation, 1, seed)
        bright = image[0] > (image[0].max() + image[0].min()) / 2
        agreement = 2 * (bright & (labels == 1)).sum() / (bright.sum() + labels.sum())
        assert agreement > 0.85


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
        ConfigError, match="one of none, light, medical, microscopy, strong, got 'wild'"
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
