"""Voxel orders: what an array is turned to, and that nothing of it is lost on the way."""

import itertools
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import aff2axcodes

from seg.errors import ImageError
from seg.images import Image, Mask, open_channels, read_channels, write_image
from seg.images.grid.image import sheared_share
from seg.images.grid.orientation import (
    TurnedSource,
    are_axis_codes,
    axis_codes,
    codes_of,
    left_right_axis,
    turn_between,
    turn_to,
    turned_image,
    turned_mask,
)
from seg.images.grid.plausible import STEEPEST
from tests.orders import ORDERS, stored_in

VOLUME = np.arange(2 * 3 * 4, dtype=np.int16).reshape(1, 2, 3, 4)
OBLIQUE = np.array(
    [[0.9, -0.3, 0.1, 5.0], [0.4, 1.8, 0.2, -7.0], [-0.1, 0.2, 2.9, 11.0], [0, 0, 0, 1]]
)
ANY_AFFINE = st.lists(
    st.floats(-3, 3, allow_nan=False).map(lambda value: round(value, 3)), min_size=9, max_size=9
)


def image(affine=OBLIQUE):
    spacing = tuple(float(mm) for mm in np.linalg.norm(affine[:3, :3], axis=0)[::-1])
    return Image(VOLUME, spacing=spacing, affine=affine)


def places(grid):
    """World position of each voxel's value."""
    found = {}
    for at in itertools.product(*map(range, grid.spatial_shape)):
        point = grid.affine @ [*at[::-1], 1]
        found[int(grid.array[(0, *at)] if isinstance(grid, Image) else grid.array[at])] = point
    return np.array([found[value] for value in sorted(found)])


def test_there_are_48_orders():
    assert len(ORDERS) == 48
    assert all(are_axis_codes(order, 3) for order in ORDERS)


@pytest.mark.parametrize("order", ORDERS)
def test_turning_leaves_every_voxel_where_it_lies(order):
    turned = turned_image(image(), turn_to(image(), order))
    assert axis_codes(turned) == order
    np.testing.assert_allclose(places(turned), places(image()), atol=1e-9)
    np.testing.assert_allclose(
        turned.spacing, np.linalg.norm(turned.affine[:3, :3], axis=0)[::-1], rtol=1e-12
    )


@pytest.mark.parametrize("order", ORDERS)
def test_the_way_back_is_exact(order):
    turn = turn_to(image(), order)
    np.testing.assert_array_equal(turn.back(turn.there(VOLUME)), VOLUME)
    mask = Mask(VOLUME[0], spacing=image().spacing, affine=OBLIQUE)
    np.testing.assert_allclose(places(turned_mask(mask, turn)), places(mask), atol=1e-9)


@pytest.mark.parametrize("order", ORDERS)
def test_how_many_pixels_of_the_file_a_voxel_has_is_turned_with_it(order):
    sizes = (8.0, 4.0, 2.0)
    whole = replace(image(), reduction=sizes)
    turn = turn_to(whole, order)
    mask = Mask.on_grid_of(whole, VOLUME[0])
    for grid in (turned_image(whole, turn), turned_mask(mask, turn), TurnedSource(whole, turn)):
        assert grid.reduction == turn.numbers(sizes)


@pytest.mark.parametrize("order", ORDERS)
def test_parts_are_turned_as_the_whole_is(order):
    turn = turn_to(image(), order)
    source, whole = TurnedSource(image(), turn), turned_image(image(), turn)
    assert source.spatial_shape == whole.spatial_shape
    assert source.spacing == whole.spacing
    np.testing.assert_array_equal(source.affine, whole.affine)
    region = (slice(1, 2), slice(0, 2), slice(1, 2))
    np.testing.assert_array_equal(source.read(region), whole.read(region))


@given(ANY_AFFINE, st.sampled_from(ORDERS))
@settings(max_examples=200, deadline=None)
def test_no_order_of_the_voxels_changes_what_a_volume_is_turned_to(numbers, order):
    affine = np.eye(4)
    affine[:3, :3] = np.array(numbers).reshape(3, 3)
    sizes = np.linalg.svd(affine[:3, :3], compute_uv=False)
    if sizes.min() < 0.05 or sheared_share(affine[:3, :3].T) < STEEPEST:
        return
    here = turned_image(image(affine), turn_to(image(affine), "RAS"))
    stored = stored_in(image(affine), turn_between("RAS", order))
    there = turned_image(stored, turn_to(stored, "RAS"))
    np.testing.assert_allclose(here.affine, there.affine, atol=1e-9)
    np.testing.assert_array_equal(here.array, there.array)


@pytest.mark.parametrize("degrees", [45, -45, 135, 225])
@pytest.mark.parametrize("plane", [(0, 1), (0, 2), (1, 2)])
def test_a_volume_between_two_axes_is_turned_alike_in_all_orders(plane, degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    affine[np.ix_(plane, plane)] = [[c, -s], [s, c]]
    here = turned_image(image(affine), turn_to(image(affine), "LPS"))
    for order in ORDERS:
        stored = stored_in(image(affine), turn_between("RAS", order))
        there = turned_image(stored, turn_to(stored, "LPS"))
        np.testing.assert_allclose(here.affine, there.affine, atol=1e-9)


@pytest.mark.parametrize("order", ORDERS)
def test_axis_codes_are_those_of_nibabel(order):
    affine = stored_in(image(), turn_between(codes_of(OBLIQUE, 3), order)).affine
    assert codes_of(affine, 3) == order == "".join(aff2axcodes(affine))


def test_a_slice_is_turned_within_its_plane_only():
    array = np.arange(6).reshape(1, 2, 3)
    axial = Image(array, affine=np.diag([-1.0, -1, 3, 1]))
    assert axis_codes(axial) == "LP"
    turned = turned_image(axial, turn_to(axial, "RA"))
    np.testing.assert_array_equal(turned.array, array[:, ::-1, ::-1])
    sagittal = Image(
        array, affine=np.array([[0, 0, 1.0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    )
    assert turn_to(sagittal, "RA").is_nothing


def test_what_does_not_say_where_it_lies_stays_as_it_is():
    assert turn_to(Image(VOLUME, spacing=(1.0, 1.0, 1.0)), "LPS").is_nothing
    assert turn_to(image(), None).is_nothing


@pytest.mark.parametrize("text", ["", "RA", "RAX", "RLS", "RASS", "ras", "RAA"])
def test_other_texts_are_no_axis_codes(text):
    assert not are_axis_codes(text, 3)


def test_the_axis_between_left_and_right():
    assert [left_right_axis(codes) for codes in ("RAS", "SAL", "ARS", "LP", "PS")] == [
        2, 0, 1, 1, None,
    ]  # fmt: skip


@pytest.mark.parametrize("read", [read_channels, open_channels])
def test_channels_on_flipped_grids_are_turned_onto_the_first(tmp_path, read):
    first = image(np.diag([1.0, 2, 3, 1]))
    files = []
    for number, order in enumerate(("RAS", "LPS", "SAL")):
        files.append(tmp_path / f"{number}.nii.gz")
        write_image(files[-1], stored_in(first, turn_between("RAS", order)))
    found = read(files)
    if read is open_channels:
        with found as source:
            array = source.read(tuple(slice(0, n) for n in source.spatial_shape))
    else:
        array = found.array
    for channel in array:
        np.testing.assert_array_equal(channel, VOLUME[0])


def test_channels_that_only_look_alike_when_turned_are_refused(tmp_path):
    first = image(np.diag([1.0, 1, 1, 1]))
    moved = np.diag([-1.0, 1, 1, 1])
    moved[0, 3] = 9
    for name, affine in (("a", first.affine), ("b", moved)):
        nibabel.save(nibabel.Nifti1Image(VOLUME[0].T, affine), tmp_path / f"{name}.nii")
    with pytest.raises(ImageError, match="one grid"):
        read_channels([tmp_path / "a.nii", tmp_path / "b.nii"])


@pytest.mark.parametrize("mm", [1e3, 1.0, 1e-3, 1e-6])
def test_grids_are_compared_by_the_size_of_their_voxels(tmp_path, mm):
    for name, size, start in (("a", 0.65, 0), ("b", 0.325, 0), ("c", 0.65, 0.3), ("d", 0.65001, 0)):
        affine = np.diag([size * mm, size * mm, mm, 1])
        affine[0, 3] = start * mm
        write_image(tmp_path / f"{name}.nrrd", image(affine))
    read_channels([tmp_path / "a.nrrd", tmp_path / "d.nrrd"])
    for other in "bc":
        with pytest.raises(ImageError, match="one grid"):
            read_channels([tmp_path / "a.nrrd", tmp_path / f"{other}.nrrd"])
