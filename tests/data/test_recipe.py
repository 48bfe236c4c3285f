import json

import imagecodecs
import nibabel
import numpy as np
import pytest
import tifffile
from scipy.io import savemat

from data.card import load_card
from data.recipe import write_cases
from seg.errors import DatasetError

SHA256 = "a" * 64
CARD = """
name: tiny
summary: tiny
about: tiny
rights: none
packages:
  - package: some-package
    version: "1.0"
    kind: wheel
    megabytes: 1
    sha256: {sha256}
    licence: MIT
    files: {files}
recipe:
  dims: {dims}
  file_ending: {ending}
  channels: {channels}
  classes: {classes}
  split: {split}
  spacing_from: not stated
  labels_by: a test
"""


def card(**fields):
    return load_card(CARD.format(sha256=SHA256, **fields))


def write(given, files, folder):
    write_cases(given, given.recipe, files, folder)
    return json.loads((folder / "dataset.json").read_text())


@pytest.fixture
def time_lapse(tmp_path):
    """Frames of 4 x 6 pixels: channel 0 an image, 1 nuclei, 2 cells that lie under nuclei too."""
    frames = np.zeros((3, 2, 4, 6), np.uint16)
    frames[0] = np.arange(2 * 4 * 6).reshape(2, 4, 6) + 1000
    frames[1, :, 1, 1] = 7
    frames[2, :, 1, :3] = 9
    tifffile.imwrite(tmp_path / "frames.tif", frames)
    fields = {
        "files": f"{{frames.tif: {{path: f.tif, sha256: {SHA256}, axes: ctyx}}}}",
        "dims": 2,
        "ending": ".tif",
        "channels": "[{name: stain, modality: microscopy, file: frames.tif, at: {c: 0}}]",
        "classes": (
            "[{name: background, color: [0, 0, 0]}, "
            "{name: cell, color: [1, 1, 1], plane: {file: frames.tif, at: {c: 2}}}, "
            "{name: nucleus, color: [2, 2, 2], plane: {file: frames.tif, at: {c: 1}}}]"
        ),
    }
    return tmp_path, frames, fields


def test_regions_of_frames_become_cases_with_unchanged_values(time_lapse):
    files, frames, fields = time_lapse
    given = card(**fields, split="{axis: x, train: [[0, 4]], test: [[5, 6]]}")
    content = write(given, files, files / "out")
    assert content["cases"] == {
        "tiny_000": "t 0 x 0-3",
        "tiny_001": "t 1 x 0-3",
        "tiny_002": "t 0 x 5-5",
        "tiny_003": "t 1 x 5-5",
    }
    train = tifffile.imread(files / "out" / "imagesTr" / "tiny_001_0000.tif")
    np.testing.assert_array_equal(train, frames[0, 1, :, :4])
    test = tifffile.imread(files / "out" / "imagesTs" / "tiny_002_0000.tif")
    np.testing.assert_array_equal(test.reshape(4, 1), frames[0, 0, :, 5:])


def test_a_later_class_covers_an_earlier_one(time_lapse):
    files, _, fields = time_lapse
    given = card(**fields, split="{axis: x, train: [[0, 4]], test: [[5, 6]]}")
    write(given, files, files / "out")
    labels = tifffile.imread(files / "out" / "labelsTr" / "tiny_000.tif")
    assert labels.tolist() == [[0, 0, 0, 0], [1, 2, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_a_split_by_frames_keeps_frames_whole(time_lapse):
    files, frames, fields = time_lapse
    given = card(**fields, split="{axis: t, train: [[0, 1]], test: [[1, 2]]}")
    content = write(given, files, files / "out")
    assert content["cases"] == {"tiny_000": "t 0", "tiny_001": "t 1"}
    test = tifffile.imread(files / "out" / "imagesTs" / "tiny_001_0000.tif")
    np.testing.assert_array_equal(test, frames[0, 1])


def test_a_file_with_other_axes_than_the_card_says_is_refused(time_lapse):
    files, frames, fields = time_lapse
    tifffile.imwrite(files / "frames.tif", frames[0])
    given = card(**fields, split="{axis: t, train: [[0, 1]], test: [[1, 2]]}")
    with pytest.raises(DatasetError, match="should have the axes ctyx"):
        write(given, files, files / "out")


def test_slabs_of_a_volume_stay_where_they_were_in_the_world(tmp_path):
    volume = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)  # x, y, z
    labels = np.where(volume > 30, 117, 0).astype(np.uint8)
    affine = np.array([[0, -2.0, 0, 7], [2, 0, 0, 8], [0, 0, 3, 9], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(volume, affine), tmp_path / "ct.nii.gz")
    nibabel.save(nibabel.Nifti1Image(labels, affine), tmp_path / "labels.nii.gz")
    given = card(
        files=(
            f"{{ct.nii.gz: {{path: a, sha256: {SHA256}}}, "
            f"labels.nii.gz: {{path: b, sha256: {SHA256}}}}}"
        ),
        dims=3,
        ending=".nii.gz",
        channels="[{name: CT, modality: CT, file: ct.nii.gz}]",
        classes=(
            "[{name: background, color: [0, 0, 0]}, "
            "{name: rib, value: 117, color: [1, 1, 1], plane: {file: labels.nii.gz}}]"
        ),
        split="{axis: z, train: [[0, 2]], test: [[3, 5]]}",
    )
    write(given, tmp_path, tmp_path / "out")
    slab = nibabel.load(tmp_path / "out" / "imagesTs" / "tiny_001_0000.nii.gz")
    np.testing.assert_array_equal(slab.get_fdata(), volume[:, :, 3:])
    np.testing.assert_allclose(slab.affine @ [1, 2, 0, 1], affine @ [1, 2, 3, 1])
    mask = nibabel.load(tmp_path / "out" / "labelsTs" / "tiny_001.nii.gz")
    np.testing.assert_array_equal(mask.get_fdata(), volume[:, :, 3:] > 30)


@pytest.fixture
def stacked(tmp_path):
    """Two pictures in colour, each with a MATLAB file of numbered nuclei beside other variables."""
    pictures = np.random.default_rng(0).integers(0, 255, (2, 4, 6, 3), dtype=np.uint8)
    numbers = np.zeros((2, 4, 6), np.int32)
    numbers[0, 0, :2], numbers[0, 2, 2:], numbers[1, 1, 1] = 15, 300, 7
    for name, picture, own in zip("ab", pictures, numbers, strict=True):
        (tmp_path / f"{name}.png").write_bytes(imagecodecs.png_encode(picture))
        savemat(tmp_path / f"{name}.mat", {"inst_map": own, "type_map": own + 1})
    files = ", ".join(
        f"{n}.png: {{path: {n}.png, sha256: {SHA256}}}, "
        f"{n}.mat: {{path: {n}.mat, sha256: {SHA256}, axes: yx, variable: inst_map}}"
        for n in "ab"
    )
    fields = {
        "files": f"{{{files}}}",
        "dims": 2,
        "ending": ".tif",
        "channels": (
            "[{name: red, modality: histology, file: '*.png', at: {c: 0}}, "
            "{name: blue, modality: histology, file: '*.png', at: {c: 2}}]"
        ),
        "classes": (
            "[{name: background, color: [0, 0, 0]}, "
            "{name: nucleus, color: [1, 1, 1], plane: {file: '*.mat'}}]"
        ),
        "split": "{axis: t, train: [[0, 1]], test: [[1, 2]]}\n  stacked: [a, b]\n  objects: true",
    }
    return tmp_path, pictures, numbers, fields


def test_files_of_one_picture_each_become_a_case_each_under_their_names(stacked):
    files, pictures, numbers, fields = stacked
    content = write(card(**fields), files, files / "out")
    assert content["cases"] == {"tiny_000": "a", "tiny_001": "b"}
    blue = tifffile.imread(files / "out" / "imagesTs" / "tiny_001_0001.tif")
    np.testing.assert_array_equal(blue, pictures[1, :, :, 2])
    labels = tifffile.imread(files / "out" / "labelsTr" / "tiny_000.tif")
    np.testing.assert_array_equal(labels, numbers[0] > 0)
    kept = tifffile.imread(files / "out" / "instancesTr" / "tiny_000.tif")
    np.testing.assert_array_equal(kept, numbers[0])


def test_pictures_of_two_sizes_are_not_stacked(stacked):
    files, pictures, _, fields = stacked
    (files / "b.png").write_bytes(imagecodecs.png_encode(pictures[1, :3].copy()))
    with pytest.raises(DatasetError, match=r"files \*\.png should be of one size"):
        write(card(**fields), files, files / "out")


def test_a_star_without_names_is_no_card(stacked):
    *_, fields = stacked
    split = fields["split"].replace("stacked: [a, b]", "stacked: []")
    with pytest.raises(DatasetError, match="files that no package brings"):
        card(**(fields | {"split": split}))
