"""Images on another scale than the others, of intensity or of space."""

import nibabel
import numpy as np
import pytest
import tifffile
from numpy.random import default_rng

from training.dataset import inspect, look_into


def images(folder, change=lambda image, index: image, *, count=6):
    for index in range(count):
        rng = default_rng(index)
        mask = np.zeros((32, 40), np.uint8)
        mask[rng.integers(4, 20) :, rng.integers(4, 30) :] = 1
        image = (rng.normal(300, 20, mask.shape) + 500.0 * mask).astype(np.uint16)
        for part, array in (("images", change(image, index)), ("masks", mask)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            kind = "rgb" if array.shape[-1] == 3 else "minisblack"
            tifffile.imwrite(folder / part / f"s{index}.tif", array, photometric=kind)
    return found(folder)


def volumes(folder, edges, dtype=np.int16):
    for index, edge in enumerate(edges):
        rng = default_rng(index)
        mask = (rng.random((6, 8, 7)) < 0.3).astype(np.uint8)
        for part, array in (("images", rng.normal(0, 9, mask.shape)), ("masks", mask)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            image = nibabel.Nifti1Image(array.astype(dtype), np.diag([*edge, 1]))
            nibabel.save(image, folder / part / f"s{index}.nii")
    return found(folder)


def found(folder):
    dataset, findings = look_into(folder)
    return [each.problem for each in findings + inspect(dataset)]


def as_bytes(image):
    return (image / 8).astype(np.uint8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            lambda image, i: as_bytes(image) if i % 2 else image,
            "the images are on several scales: 3 of uint16 up to",
            id="8 and 16 bits",
        ),
        pytest.param(
            lambda image, i: image + np.uint16(40_000 * (i == 2)),
            "intensities go from 4.025e+04 to",
            id="an offset",
        ),
        pytest.param(
            lambda image, i: image.astype(np.int16) - np.int16(250 * (i != 2)),
            "intensities go from 25",
            id="Hounsfield units without their offset",
        ),
    ],
)
def test_an_image_on_another_scale_of_intensity_is_told(change, words, tmp_path):
    (problem,) = images(tmp_path, change)
    assert problem.startswith(words)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda image, i: image, id="the same"),
        pytest.param(lambda image, i: (image * (1 + i / 4)).astype(np.uint16), id="exposures"),
        pytest.param(
            lambda image, i: image.astype(np.float32) if i % 2 else image, id="types of one scale"
        ),
    ],
)
def test_images_of_one_scale_are_left_alone(change, tmp_path):
    assert images(tmp_path, change) == []


def test_channels_that_are_copies_are_told(tmp_path):
    told = images(tmp_path / "two", lambda image, i: np.stack([image, image, image[::-1]]))
    assert [each for each in told if "copy" in each] == [
        "channel 1 is a copy of channel 0 in all images"
    ]
    several = images(tmp_path / "few", lambda image, i: np.stack([image, image[:: 1 if i else -1]]))
    assert several == []


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        pytest.param(
            [(1, 1, 3)] * 4 + [(0.001, 0.001, 0.003)], "0.003 x 0.001 x 0.001 mm", id="unit"
        ),
        pytest.param(
            [(0.7, 0.7, 5)] * 4 + [(1, 1, 1)], "as programs write it where nobody", id="default"
        ),
    ],
)
def test_an_image_on_another_scale_of_space_is_told(edges, words, tmp_path):
    (problem,) = volumes(tmp_path, edges)
    assert words in problem


@pytest.mark.parametrize(
    "edges", [[(1, 1, 1)] * 4 + [(0.7, 0.7, 5)], [(0.5, 0.5, i) for i in (1, 2, 5)]]
)
def test_scans_of_usual_spacings_are_left_alone(edges, tmp_path):
    assert volumes(tmp_path, edges) == []


def in_color(image, order=(0, 1, 2)):
    rgb = np.stack([image, image // 2, 1500 - image], axis=-1)
    return rgb[..., list(order)]


def test_channels_in_another_order_than_in_most_images_are_told(tmp_path):
    said = images(
        tmp_path, lambda image, i: in_color(image, (2, 1, 0) if i == 2 else (0, 1, 2)), count=5
    )
    assert [each for each in said if "another order" in each and "channels 2, 1, 0" in each]


def test_channels_that_are_brighter_in_one_image_are_in_no_other_order(tmp_path):
    said = images(tmp_path, lambda image, i: in_color(image // (2 if i == 2 else 1)), count=5)
    assert not [each for each in said if "another order" in each]


def test_images_of_12_beside_those_of_16_bits_are_told(tmp_path):
    said = images(tmp_path, lambda image, i: image * np.uint16(16 if i < 3 else 1))
    assert [each for each in said if "the images are on two scales: 3 up to" in each]


def test_images_of_many_exposures_are_on_one_scale(tmp_path):
    assert not images(tmp_path, lambda image, i: image * np.uint16(3**i) // 8, count=4)
