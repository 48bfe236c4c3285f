"""Folders whose files are stored in several voxel orders."""

import nibabel
import numpy as np
import pytest

from seg.images import Image, read_mask, write_image, write_mask
from seg.images.grid.orientation import axis_codes, turn_between, turn_to, turned_mask
from seg.inference import Predictor
from seg.model_package import ModelPackage
from tests.orders import stored_in
from tests.packages import write_package
from training.dataset import check_dataset as check
from training.dataset import load_dataset
from training.dataset.fingerprint import fingerprint_of
from training.evaluation.evaluator import evaluate, prediction_file
from training.planning.rules import make_plan
from training.samples.prepared_cases import on_the_network_s_grid

AFFINE = np.array([[2.0, 0, 0, -20], [0, 1.5, 0, -15], [0, 0, 3, 8], [0, 0, 0, 1]])
ORDERS = ("LPS", "RAS", "LPS", "SAL", "LPS", "PIR")
MASKS = ("RAS", "RAS", "LPS", "LPS", "ASR", "PIR")


def volume(seed=0):
    array = np.random.default_rng(seed).integers(0, 255, (1, 12, 16, 20)).astype(np.uint8)
    return Image(array, spacing=(3.0, 1.5, 2.0), affine=AFFINE)


def folder(path, orders=ORDERS, masks=MASKS):
    """The images of an nnU-Net-like folder; the labels are what is bright."""
    for name in ("images", "masks"):
        (path / name).mkdir(parents=True)
    for number, (order, of_mask) in enumerate(zip(orders, masks, strict=True)):
        image = volume(number)
        stored = stored_in(image, turn_between("RAS", order))
        write_image(path / "images" / f"c{number}.nii.gz", stored)
        labels = (image.array > 127).astype(np.uint8)
        labels = stored_in(Image(labels, image.spacing, AFFINE), turn_between("RAS", of_mask))
        write_image(path / "masks" / f"c{number}.nii.gz", labels)
    return path


def test_images_and_masks_are_turned_alike(tmp_path):
    dataset = load_dataset(folder(tmp_path / "mixed"))
    assert check(dataset) == []
    fingerprint = fingerprint_of(dataset)
    assert fingerprint.orientation == "LPS"
    assert set(fingerprint.shapes) == {(12, 16, 20)}
    assert set(fingerprint.spacings) == {(3.0, 1.5, 2.0)}
    plan = make_plan(fingerprint, dataset.channels, "cpu", minutes=1, dataset="d", data="d")
    assert plan.orientation == "LPS"
    plan = plan.model_copy(update={"margin": (0, 0, 0), "patch": (8, 8, 8)})
    for number, case in enumerate(dataset.cases):
        image, labels = on_the_network_s_grid(*dataset.read(case), plan)
        wanted = turn_between("RAS", "LPS").there(volume(number).array[0])
        np.testing.assert_array_equal(labels, wanted > 127)
        assert np.corrcoef(image.ravel(), wanted.ravel())[0, 1] == pytest.approx(1)


def test_another_orientation_may_be_chosen(tmp_path):
    dataset = load_dataset(folder(tmp_path / "mixed"))
    fingerprint = fingerprint_of(dataset)
    chosen = {"minutes": 1, "dataset": "d", "data": "d"}
    plan = make_plan(fingerprint, dataset.channels, "cpu", orientation="SAL", **chosen)
    assert plan.orientation == "SAL"
    assert plan.spacing == (2.0, 1.5, 3.0)


def test_a_case_without_an_affine_is_told(tmp_path):
    path = folder(tmp_path / "mixed")
    for name in ("images", "masks"):
        file = path / name / "c1.nii.gz"
        bare = nibabel.Nifti1Image(np.asarray(nibabel.load(file).dataobj), None)
        bare.header.set_zooms((2, 1.5, 3))
        nibabel.save(bare, file)
    (finding,) = check(load_dataset(path))
    assert "1 of 6 images" in finding.problem
    assert "how their voxels lie" in finding.problem


def test_an_evaluation_turns_too_and_keeps_masks_as_the_images_are_stored(tmp_path):
    """Masks of the model itself as references: whatever is not turned would cost Dice."""
    classes = [{"index": n, "name": name, "color": (n, 0, 0)}
               for n, name in enumerate(("background", "class_1", "class_2"))]  # fmt: skip
    path = write_package(
        tmp_path / "package", patch=(6, 8, 10), lopsided=True, orientation="RAS", classes=classes
    )
    predictor = Predictor(ModelPackage.load(path))
    mixed = folder(tmp_path / "mixed")
    for number, order in enumerate(MASKS):
        mask = predictor.predict(volume(number))
        write_mask(
            mixed / "masks" / f"c{number}.nii.gz",
            turned_mask(mask, turn_to(mask, order)),
            "nifti",
            predictor.package.card.classes,
        )
    dataset = load_dataset(mixed)
    found = evaluate(predictor, dataset, dataset.cases, predictions=tmp_path, progress=False)
    assert found.summary["class_1"].dice == found.summary["class_2"].dice == 1
    for number, order in enumerate(ORDERS):
        kept = read_mask(prediction_file(tmp_path, f"c{number}", 3))
        assert axis_codes(kept) == order
        expected = predictor.predict(volume(number)).array
        there = turn_between("RAS", order).there(expected)
        np.testing.assert_array_equal(kept.array, there)


def test_a_mask_at_the_other_form_of_its_image_s_header_is_in_place(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    other = np.diag([-2.0, 1.5, 3, 1])
    other[:3, 3] = 40, 3, 9
    for name in "abc":
        rng = np.random.default_rng(ord(name))
        voxels = rng.integers(0, 200, (10, 9, 8)).astype(np.int16)
        image = nibabel.Nifti1Image(voxels, AFFINE)
        image.set_sform(AFFINE, 2)
        image.set_qform(other, 1)
        nibabel.save(image, tmp_path / "images" / f"{name}.nii.gz")
        drawn = nibabel.Nifti1Image((voxels > 100).astype(np.uint8), other)
        drawn.set_qform(other, 1)
        nibabel.save(drawn, tmp_path / "masks" / f"{name}.nii.gz")
    dataset = load_dataset(tmp_path)
    assert check(dataset) == []
    image, mask = dataset.read(dataset.cases[0])
    np.testing.assert_array_equal(mask.array, image.array[0] > 100)
