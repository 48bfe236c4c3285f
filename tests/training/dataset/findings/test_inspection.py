"""The look at every case, and the likeness of images."""

import json

import nibabel
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng
from PIL import Image as Picture
from scipy import ndimage

from seg.errors import DatasetError
from tests.datasets import mask_values, plain_folder, write_png
from training.dataset import check_dataset, inspect, load_dataset, look_into
from training.dataset.findings.duplicates import (
    NEARLY_THE_SAME,
    ROWS,
    content_hash,
    most_alike,
    thumbnail,
)
from training.dataset.in_processes import BYTES_FOR_PROCESSES
from training.dataset.splits import subjects_in


def pictures(folder, names="abcdef", *, test=("e", "f"), card=""):
    """Cases with images of noise, which are all unlike each other."""
    for index, name in enumerate(names):
        image = default_rng(index).integers(0, 255, (40, 48))
        write_png(folder / "images" / f"{name}.png", image)
        write_png(folder / "masks" / f"{name}.png", mask_values(1, size=(40, 48)))
    text = f"split: {{test: {json.dumps(list(test))}}}\nclasses: [background, cell]\n{card}"
    (folder / "dataset.yaml").write_text(text)
    return folder


def found(folder):
    dataset, findings = look_into(folder)
    return findings + inspect(dataset)


def said(folder):
    """Severity, file name and problem of every finding."""
    return [(f.severity, f.where.rsplit("/", 1)[-1], f.problem) for f in found(folder)]


def test_a_sound_dataset_passes_the_check(raw):
    assert check_dataset(load_dataset(raw)) == []


def test_everything_that_is_wrong_is_told_at_once(tmp_path):
    pictures(tmp_path)
    (tmp_path / "images" / "a.png").unlink()
    (tmp_path / "images" / "b.png").write_bytes(b"no image")
    write_png(tmp_path / "masks" / "c.png", mask_values(1, 7, size=(40, 47)))
    write_png(tmp_path / "masks" / "d.png", mask_values(1, size=(40, 47)))
    write_png(tmp_path / "masks" / "e.png", np.zeros((40, 48)))
    write_png(tmp_path / "images" / "f.png", np.full((40, 48), 9))
    (tmp_path / "dataset.yaml").write_text("classes: [background, cell]")
    by_file = {where: (severity, problem) for severity, where, problem in said(tmp_path)}
    assert by_file["a.png"] == ("error", "no image is called a")
    assert by_file["b.png"][0] == "error"
    assert by_file["c.png"][1].startswith("the mask holds the values 7, which no class has")
    assert by_file["d.png"][1].endswith("the same size, got (40, 48) and (40, 47)")
    assert by_file["e.png"] == ("warning", "the mask shows background only")
    assert by_file["f.png"] == ("warning", "channel channel_0 is 9 everywhere")
    with pytest.raises(DatasetError, match="no image is called a"):
        load_dataset(tmp_path)
    (tmp_path / "masks" / "a.png").unlink()
    with pytest.raises(DatasetError, match="3 things are wrong"):
        check_dataset(load_dataset(tmp_path))


def test_each_finding_says_what_to_do(tmp_path):
    write_png(pictures(tmp_path) / "masks" / "c.png", mask_values(1, 7, size=(40, 48)))
    (finding,) = found(tmp_path)
    assert str(finding).startswith(str(tmp_path / "masks" / "c.png"))
    assert finding.advice == "correct the mask, or declare what it holds"


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_nan_and_infinity_are_found(tmp_path, broken):
    pictures(tmp_path)
    (tmp_path / "images" / "a.png").unlink()
    image = default_rng(9).normal(size=(40, 48)).astype(np.float32)
    image[0, :3] = broken
    tifffile.imwrite(tmp_path / "images" / "a.tif", image)
    assert said(tmp_path) == [("error", "a.tif", "the image holds NaN or infinity in 3 values")]


@pytest.mark.parametrize(
    ("affine", "words"),
    [
        pytest.param(np.diag([1, 1, 2.0, 1]), "the same spacing, got 1 x 1 x 1 and", id="spacing"),
        # stored the other way round it would be turned back, but then its origin lies elsewhere
        pytest.param(np.diag([1, -1, 1.0, 1]), "lie at different places", id="flipped"),
        pytest.param(np.eye(4) + np.eye(4, k=3), "lie at different places", id="moved"),
    ],
)
def test_a_mask_that_lies_elsewhere_than_its_image_is_refused(tmp_path, affine, words):
    for folder, place in (("images", np.eye(4)), ("masks", affine)):
        (tmp_path / folder).mkdir()
        for index, name in enumerate("ab"):
            values = default_rng(index).integers(0, 2, (4, 5, 6)).astype(np.int16)
            nibabel.save(nibabel.Nifti1Image(values, place), tmp_path / folder / f"{name}.nii")
    with pytest.raises(DatasetError, match=words):
        check_dataset(load_dataset(tmp_path))


def test_training_cases_that_show_background_only_are_refused(tmp_path):
    dataset = load_dataset(plain_folder(tmp_path, cases=3))
    for case in dataset.train:
        write_png(case.mask, mask_values(0))
    with pytest.raises(DatasetError, match="nothing to learn"):
        check_dataset(dataset)


def test_a_class_that_no_training_case_shows_is_told(tmp_path):
    pictures(tmp_path)
    write_png(tmp_path / "masks" / "e.png", mask_values(1, 2, size=(40, 48)))
    text = (tmp_path / "dataset.yaml").read_text().replace("cell]", "cell, rare]")
    (tmp_path / "dataset.yaml").write_text(text)
    assert said(tmp_path) == [("warning", tmp_path.name, "no training case shows rare")]


def test_masks_that_nobody_annotated_are_told(tmp_path):
    pictures(tmp_path, card="ignore: 9")
    write_png(tmp_path / "masks" / "a.png", np.full((40, 48), 9))
    assert said(tmp_path) == [("warning", "a.png", "nobody annotated it")]


def test_spacing_that_some_files_lack_is_told(tmp_path):
    for index, name in enumerate("abc"):
        options = {"resolution": (100, 100), "resolutionunit": "CENTIMETER"} if index else {}
        (tmp_path / "images").mkdir(exist_ok=True)
        image = default_rng(index).integers(0, 255, (20, 20)).astype(np.uint8)
        tifffile.imwrite(tmp_path / "images" / f"{name}.tif", image, **options)
        write_png(tmp_path / "masks" / f"{name}.png", mask_values(1, size=(20, 20)))
    ((severity, file, problem),) = said(tmp_path)
    assert (severity, file) == ("warning", "a.tif")
    assert problem.startswith("the file states no spacing, others do")


def test_a_subject_on_both_sides_is_an_error(tmp_path):
    names, card = ["p1_a", "p1_b", "p2_a"], "subjects: {pattern: p.}"
    pictures(tmp_path, names, test=["p1_b"], card=card)
    ((severity, where, problem),) = said(tmp_path)
    assert (severity, where) == ("error", "p1_b")
    assert problem.startswith("subject p1 is also in training case p1_a")


# images that are the same


def test_the_same_image_in_train_and_test_is_an_error_whatever_its_file(tmp_path):
    pictures(tmp_path)
    with Picture.open(tmp_path / "images" / "a.png") as picture:
        picture.save(tmp_path / "images" / "e.tif")
    (tmp_path / "images" / "e.png").unlink()
    assert said(tmp_path) == [
        ("error", "e.tif", "the image is the same as that of train case a"),
    ]


def test_the_same_image_twice_on_one_side_is_a_warning(tmp_path):
    pictures(tmp_path)
    (tmp_path / "images" / "b.png").write_bytes((tmp_path / "images" / "a.png").read_bytes())
    problem = (
        "the image is the same as that of train case a; with folds, one may be held back where "
    )
    assert said(tmp_path) == [("warning", "b.png", f"{problem}the other is trained on")]


def test_nearly_the_same_image_in_train_and_test_is_a_warning(tmp_path):
    pictures(tmp_path)
    image = np.asarray(Picture.open(tmp_path / "images" / "a.png")).astype(float)
    brighter = 0.8 * image + 40 + default_rng(0).normal(0, 4, image.shape)
    write_png(tmp_path / "images" / "e.png", brighter)
    ((severity, file, problem),) = said(tmp_path)
    assert (severity, file) == ("warning", "e.png")
    assert problem.startswith("the image looks like that of train case a (correlation 0.99")


@pytest.mark.parametrize(
    "change",
    [lambda x: x[:, ::-1], lambda x: x[::-1, ::-1], np.rot90, lambda x: 255 - x],
    ids=["mirrored", "half a turn", "a quarter", "inverted"],
)
def test_a_test_image_that_is_one_of_training_the_other_way_round_is_a_warning(tmp_path, change):
    pictures(tmp_path)
    image = ndimage.gaussian_filter(default_rng(9).normal(0, 900, (40, 48)), 3).clip(-99, 99) + 99
    write_png(tmp_path / "images" / "a.png", image)
    write_png(tmp_path / "images" / "e.png", change(image))
    mask = np.asarray(Picture.open(tmp_path / "masks" / "e.png"))
    write_png(tmp_path / "masks" / "e.png", np.resize(mask, change(image).shape))
    ((severity, file, problem),) = said(tmp_path)
    assert (severity, file) == ("warning", "e.png")
    assert problem.startswith("mirrored, turned or inverted, the image looks like that of train")


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[:, ::-1],
        lambda x: np.rot90(x, 2),
        np.rot90,
        lambda x: 255 - x,
        lambda x: x[::-2, ::2] / 2 + 60,
    ],
    ids=["mirrored", "half a turn", "a quarter", "inverted", "mirrored, half as large and dim"],
)
def test_a_training_image_that_is_another_the_other_way_round_is_told_for_folds(tmp_path, change):
    pictures(tmp_path)
    image = ndimage.gaussian_filter(default_rng(9).normal(0, 2000, (80, 96)), 6).clip(-99, 99) + 99
    write_png(tmp_path / "images" / "a.png", image)
    write_png(tmp_path / "images" / "b.png", change(image))
    for name, shape in (("a", image.shape), ("b", change(image).shape)):
        mask = np.asarray(Picture.open(tmp_path / "masks" / f"{name}.png"))
        write_png(tmp_path / "masks" / f"{name}.png", np.resize(mask, shape))
    ((severity, file, problem),) = said(tmp_path)
    assert (severity, file) == ("warning", "b.png")
    how = "look alike when one is mirrored, turned or inverted, as a and b do"
    assert problem.startswith(f"one pair of training cases {how}")


def test_parts_of_one_image_on_both_sides_and_in_two_folds_are_told_once_each(tmp_path):
    pictures(tmp_path)
    wide = default_rng(9).integers(0, 255, (40, 200))
    for name, left in {"a": 0, "b": 30, "c": 60, "e": 90}.items():
        write_png(tmp_path / "images" / f"{name}.png", wide[:, left : left + 48])
    across, in_training = said(tmp_path)
    assert across[:2] == ("warning", "e.png")
    assert across[2].startswith("one pair of images share a part, crops, tiles or shifted copies")
    assert "train case c and test case e do" in across[2]
    assert in_training[2].startswith("2 pairs of images share a part")
    assert "with folds" in in_training[2]


def test_parts_of_one_subject_on_one_side_are_no_finding(tmp_path):
    names = ("a1", "a2", "c", "d", "e", "f")
    pictures(tmp_path, names, card='subjects: {pattern: "(.)"}\n')
    wide = default_rng(9).integers(0, 255, (40, 200))
    for name, left in {"a1": 0, "a2": 30}.items():
        write_png(tmp_path / "images" / f"{name}.png", wide[:, left : left + 48])
    assert not said(tmp_path)


@given(st.integers(0, 100), st.floats(0.1, 10), st.floats(-100, 100))
def test_brightness_and_contrast_do_not_change_a_thumbnail(seed, contrast, brightness):
    image = default_rng(seed).normal(size=(2, 30, 50))
    np.testing.assert_allclose(
        thumbnail(contrast * image + brightness), thumbnail(image), atol=1e-4
    )


@pytest.mark.parametrize("shape", [(128, 160), (48, 60, 80), (8, 128, 128)])
def test_a_smaller_copy_is_alike_and_another_image_is_not(shape):
    light = [ndimage.gaussian_filter(default_rng(n).normal(size=shape), 6) for n in (0, 1)]
    ours, theirs = (thumbnail(each[None]) for each in light)
    assert ours @ thumbnail(light[0][None, ..., ::2, ::2]) > NEARLY_THE_SAME
    assert ours @ theirs < 0.8
    assert ours @ ours == pytest.approx(1)


def test_a_flat_image_is_like_no_other():
    assert not thumbnail(np.full((1, 40, 40), 1e6 + 0.1)).any()


def test_the_hash_is_of_the_intensities_and_not_of_their_byte_order():
    image = default_rng(0).integers(0, 999, (1, 4, 5)).astype(np.uint16)
    assert content_hash(image) == content_hash(image.astype(">u2"))
    assert content_hash(image) == content_hash(image.astype(np.float64))
    assert content_hash(image) != content_hash(image.reshape(1, 5, 4))
    assert content_hash(image) != content_hash(image + 1)


@pytest.mark.slow
def test_two_processes_find_what_one_finds(tmp_path, monkeypatch):
    pictures(tmp_path)
    (tmp_path / "images" / "b.png").write_bytes(b"no image")
    alone = found(tmp_path)
    assert BYTES_FOR_PROCESSES > 10_000
    monkeypatch.setattr("training.dataset.in_processes.BYTES_FOR_PROCESSES", 0)
    assert found(tmp_path) == alone


def test_names_of_slices_are_told_with_the_line_to_write(tmp_path):
    names = [f"patient{p:02d}_slice{s}" for p in range(4) for s in range(3)]
    pictures(tmp_path, names, test=(names[0], names[5]))
    warnings = [f for f in found(tmp_path) if f.severity == "warning"]
    assert [(w.problem, w.advice) for w in warnings] == [
        (
            "names such as patient00_slice0, patient00_slice1, patient00_slice2 look like several "
            "images of one subject (patient): 4 subjects, 2 of them are trained on and held back "
            "too",
            'if they are, write subjects: {pattern: "(patient[0-9]+).*"} into dataset.yaml',
        )
    ]
    card = 'subjects: {pattern: "(patient[0-9]+).*"}'
    pictures(tmp_path, names, test=names[:3], card=card)
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("names", "subjects", "pattern"),
    [
        (["p1_left", "p1_right", "p2_left", "p3_left"], None, None),
        (["p1_left", "p1_right", "p2_left", "p2_right"], 2, "(p[0-9]+).*"),
        (["img_01_x0_y0", "img_01_x1_y0", "img_02_x0_y0", "img_02_x1_y0"], 2, "(img_[0-9]+).*"),
        (["A1_f1", "A1_f2", "B2_f1", "B2_f2"], 2, "([^_]+)_.*"),
        (["p01s03", "p01s04", "p02s03", "p02s04"], 2, "(p[0-9]+).*"),
        ([f"frame_{i}" for i in range(9)], None, None),
        ([f"2024-01-{i:02d}" for i in range(9)], None, None),
        (["liver_1", "liver_2", "spleen_1", "spleen_2"], None, None),
        (["left_12", "right_12", "left_13", "right_13"], 2, "[a-zA-Z]+[-_. ]+(.+)"),
        (["left_12", "left_13", "left_14", "right_13"], None, None),
        (
            ["slice0_patient1", "slice1_patient1", "slice0_patient2", "slice1_patient2"],
            2,
            ".*?(patient[0-9]+).*",
        ),
    ],
)
def test_subjects_are_seen_in_names_that_share_a_numbered_beginning(names, subjects, pattern):
    alike = subjects_in(names)
    assert (alike and len(set(alike.subject_of.values()))) == subjects
    assert (alike and alike.pattern) == pattern


def test_training_cases_that_look_alike_are_told_once_for_folds(tmp_path):
    pictures(tmp_path)
    blurred = ndimage.gaussian_filter(default_rng(0).integers(0, 255, (40, 48)).astype(float), 2)
    for name, shift in (("a", 0), ("b", 9), ("c", 30)):
        write_png(tmp_path / "images" / f"{name}.png", blurred / 2 + shift)
    (finding,) = found(tmp_path)
    assert finding.severity == "warning"
    assert finding.problem.startswith("3 pairs of training cases look alike, as a and b do: with f")


def test_the_most_alike_of_many_is_that_of_all_pairs_at_once():
    ours, theirs = (default_rng(n).normal(size=(n, 7)).astype(np.float32) for n in (ROWS + 3, 20))
    for signed, pairs in ((True, ours @ theirs.T), (False, np.abs(ours @ theirs.T))):
        places, likeness = most_alike(ours, theirs, signed=signed)
        np.testing.assert_array_equal(places, pairs.argmax(axis=1))
        np.testing.assert_allclose(likeness, pairs.max(axis=1), rtol=1e-6)
