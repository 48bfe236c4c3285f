"""The same volume gives the same mask in the world, however its voxels are stored."""

from functools import partial

import nibabel
import numpy as np
import pytest

from seg.images import Image, Mask, open_channels, read_image, read_mask, write_image
from seg.images.grid.orientation import Turn, axis_codes, turn_between
from seg.inference import Predictor, predict_file
from seg.model_package import ModelPackage, Postprocessing
from seg.objects.measurements import measure_objects
from seg.predict.__main__ import main
from seg.transforms import Preprocessing, prepare_rows
from seg.transforms.spec import Normalisation
from tests.orders import ORDERS, stored_in
from tests.packages import write_package

TILTED = np.array(
    [[1.9, -0.2, 0.1, -20.0], [0.3, 1.4, 0.1, -15.0], [0, -0.1, 3.0, 8.0], [0, 0, 0, 1]]
)
SPACING = tuple(float(mm) for mm in np.linalg.norm(TILTED[:3, :3], axis=0)[::-1])
RULE = Normalisation(kind="rescale", low=0, high=255)
RESAMPLED = Preprocessing(spacing=(2.5, 1.2, 1.7), normalisation=(RULE,))
SOME = ORDERS[::5]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Trained in RAS, and unlike in all directions."""
    folder = tmp_path_factory.mktemp("lopsided") / "package"
    return ModelPackage.load(
        write_package(
            folder,
            patch=(6, 8, 10),
            lopsided=True,
            orientation="RAS",
            preprocessing=RESAMPLED.model_dump(),
        )
    )


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (4, 5, 6))
    array = coarse.repeat(2, 0).repeat(3, 1).repeat(3, 2)[None, :7].astype(np.uint8)
    return Image(array, spacing=SPACING, affine=TILTED)


@pytest.fixture(scope="module")
def expected(package, image):
    mask = Predictor(package).predict(image)
    mirrored = Predictor(package).predict(Image(image.array[..., ::-1], SPACING, TILTED))
    assert not np.array_equal(mask.array, mirrored.array[..., ::-1])  # else nothing is tested
    return mask


def turn(order: str) -> Turn:
    found = turn_between("RAS", order)
    assert found is not None
    return found


@pytest.mark.parametrize("order", ORDERS)
def test_from_memory(package, image, expected, order):
    stored = stored_in(image, turn(order))
    assert axis_codes(stored) == order
    mask = Predictor(package).predict(stored)
    np.testing.assert_array_equal(mask.array, turn(order).there(expected.array))
    np.testing.assert_array_equal(mask.affine, stored.affine)


@pytest.mark.parametrize("order", SOME)
def test_maps_lie_where_the_mask_lies(package, image, order):
    maps = ("probabilities", "uncertainty")
    here = Predictor(package).segment(image, maps=maps)
    stored = stored_in(image, turn(order))
    there = Predictor(package).segment(stored, maps=maps)
    assert there.quality == here.quality
    for name in maps:
        array = there.maps[name].array
        np.testing.assert_array_equal(array, turn(order).there(here.maps[name].array))
        np.testing.assert_array_equal(there.maps[name].affine, stored.affine)
    found = Predictor(package).predict_probabilities(stored)
    np.testing.assert_array_equal(
        found, turn(order).there(Predictor(package).predict_probabilities(image))
    )


@pytest.mark.parametrize(
    ("order", "rules"),
    [
        *((order, Postprocessing()) for order in ORDERS),
        *((order, Postprocessing(largest_foreground=True)) for order in SOME),
    ],
)
def test_from_files_that_are_streamed(package, image, order, rules, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "seg.inference.slab_logits.prepare_rows", partial(prepare_rows, whole_bytes=0)
    )
    card = package.card.model_copy(update={"postprocessing": rules})
    predictor = Predictor(ModelPackage(package.path, card))
    write_image(tmp_path / "image.nii", stored_in(image, turn(order)))
    predict_file(predictor, tmp_path / "image.nii", tmp_path / "mask.nii", "nifti")
    whole = predictor.predict(read_image(tmp_path / "image.nii"))
    mask = read_mask(tmp_path / "mask.nii")
    np.testing.assert_array_equal(mask.array, whole.array)
    np.testing.assert_array_equal(mask.affine, whole.affine)


def test_by_the_command_line(package, image, expected, tmp_path):
    (tmp_path / "in").mkdir()
    for order in ORDERS:
        write_image(tmp_path / "in" / f"{order}.nii.gz", stored_in(image, turn(order)))
    arguments = [package.path, tmp_path / "in", "--out", tmp_path / "out", "--provider", "cpu"]
    assert main([*map(str, arguments), "--format", "nifti"]) == 0
    for order in ORDERS:
        mask = read_mask(tmp_path / "out" / f"{order}.nii.gz")
        np.testing.assert_array_equal(mask.array, turn(order).there(expected.array))
        assert axis_codes(mask) == order
        stored = nibabel.load(tmp_path / "in" / f"{order}.nii.gz")
        np.testing.assert_array_equal(
            nibabel.load(tmp_path / "out" / f"{order}.nii.gz").affine, stored.affine
        )


@pytest.mark.parametrize("order", SOME)
def test_objects_are_the_same_ones(package, image, order):
    here = Predictor(package).objects(image)
    assert len(here) > 3
    stored = stored_in(image, turn(order))
    there = Predictor(package).objects(stored)
    np.testing.assert_array_equal(there.labels, turn(order).there(here.labels))
    areas = [sorted(row["area"] for row in measure_objects(each)) for each in (here, there)]
    assert areas[0] == pytest.approx(areas[1], rel=1e-4)
    volume = abs(np.linalg.det(TILTED[:3, :3]))
    assert sum(areas[0]) == pytest.approx((here.labels > 0).sum() * volume, rel=1e-4)


def test_an_image_that_does_not_say_how_it_lies_is_warned_of(package, image, tmp_path):
    bare = Image(image.array, spacing=SPACING)
    warning = Predictor(package).segment(bare).quality.warnings[0]
    assert "no affine" in warning
    assert "RAS" in warning
    assert "affine" not in "".join(Predictor(package).segment(image).quality.warnings)
    write_image(tmp_path / "bare.nii", bare)
    with open_channels([tmp_path / "bare.nii"]) as source:
        assert Predictor(package).warnings(source)[0] == warning


def test_a_package_with_sides_that_states_no_orientation_is_warned_of(package, image):
    spec = package.card.input.model_copy(update={"orientation": None})
    names = [
        info.model_copy(update={"name": name})
        for info, name in zip(package.card.classes, ("none", "ear left", "ear right"), strict=True)
    ]
    card = package.card.model_copy(update={"input": spec, "classes": tuple(names)})
    warning = Predictor(ModelPackage(package.path, card)).segment(image).quality.warnings[0]
    assert "ear left, ear right may have changed places" in warning


def test_flat_images_are_turned_within_their_plane(tmp_path):
    path = write_package(tmp_path / "flat", patch=(8, 8), lopsided=True, orientation="RA")
    predictor = Predictor(ModelPackage.load(path))
    array = np.random.default_rng(0).integers(0, 255, (1, 9, 12)).astype(np.uint8)
    here = predictor.predict(Image(array, affine=np.eye(4)))
    for order in ("LP", "AR", "PL", "RP"):
        stored = stored_in(Image(array, affine=np.eye(4)), turn_between("RA", order))
        mask: Mask = predictor.predict(stored)
        np.testing.assert_array_equal(mask.array, turn_between("RA", order).there(here.array))
    # a picture says nothing, and is taken as it is
    np.testing.assert_array_equal(predictor.predict(Image(array)).array, here.array)
