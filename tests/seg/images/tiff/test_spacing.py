import io

import numpy as np
import pytest
import tifffile

from seg.images import read_image

FLAT = np.zeros((4, 5), np.uint8)
STACK = np.zeros((3, 4, 5), np.uint8)


def spacing(array, dims=None, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, photometric="minisblack", **options)
    return read_image(buffer.getvalue(), dims=dims).spacing


def ome(array, axes, **sizes):
    return spacing(array, ome=True, metadata={"axes": axes, **sizes})


def test_a_file_that_says_nothing_has_no_spacing():
    assert spacing(FLAT) is None


def test_resolution_in_centimetres_is_a_spacing():
    assert spacing(FLAT, resolution=(20, 50), resolutionunit="CENTIMETER") == (0.2, 0.5)


@pytest.mark.parametrize("dpi", [1, 72, 96, 300, 5000])
def test_dots_an_inch_are_for_printers(dpi):
    assert spacing(FLAT, resolution=(dpi, dpi), resolutionunit="INCH") is None


@pytest.mark.parametrize("dpi", [72, 96, 150, 300, 600])
def test_usual_dots_an_inch_told_in_centimetres_are_for_printers_too(dpi):
    per_cm = dpi / 2.54
    assert spacing(FLAT, resolution=(per_cm, per_cm), resolutionunit="CENTIMETER") is None


def test_one_pixel_a_centimetre_was_never_set():
    assert spacing(FLAT, resolution=(1, 1), resolutionunit="CENTIMETER") is None


def test_resolution_without_a_unit_is_no_spacing():
    assert spacing(FLAT, resolution=(20, 20), resolutionunit="NONE") is None


def test_a_stack_needs_to_know_its_slice_distance():
    assert spacing(STACK, dims=3, resolution=(20, 20), resolutionunit="CENTIMETER") is None
    assert spacing(STACK, dims=2, resolution=(20, 20), resolutionunit="CENTIMETER") == (0.5, 0.5)


@pytest.mark.parametrize(
    ("unit", "mm"),
    [("um", 1e-3), ("micron", 1e-3), ("\\u00B5m", 1e-3), ("mm", 1.0), ("nm", 1e-6), ("cm", 10.0)],
)
def test_imagej_units_become_millimetres(unit, mm):
    found = spacing(
        STACK, imagej=True, resolution=(4, 2), metadata={"unit": unit, "spacing": 3, "axes": "ZYX"}
    )
    assert found == pytest.approx((3 * mm, mm / 2, mm / 4))


@pytest.mark.parametrize("unit", ["pixel", "inch", ""])
def test_imagej_units_that_measure_nothing_are_no_spacing(unit):
    assert spacing(FLAT, imagej=True, resolution=(4, 2), metadata={"unit": unit}) is None


def test_ome_sizes_are_micrometres_unless_they_say_otherwise():
    sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 3.0}
    assert ome(STACK, "ZYX", **sizes) == pytest.approx((3e-3, 5e-4, 2.5e-4))
    units = {f"PhysicalSize{axis}Unit": "mm" for axis in "XYZ"}
    assert ome(STACK, "ZYX", **sizes, **units) == (3.0, 0.5, 0.25)


def test_ome_sizes_that_are_not_there_or_zero_are_no_spacing():
    assert ome(FLAT, "YX", PhysicalSizeX=0.25) is None
    assert ome(STACK, "ZYX", PhysicalSizeX=1.0, PhysicalSizeY=1.0, PhysicalSizeZ=0.0) is None
    assert ome(FLAT, "YX", PhysicalSizeX=2.0, PhysicalSizeY=1.0) == (1e-3, 2e-3)


def test_ome_sizes_in_pixels_are_no_spacing():
    unit = {"PhysicalSizeXUnit": "pixel", "PhysicalSizeYUnit": "pixel"}
    assert ome(FLAT, "YX", PhysicalSizeX=1.0, PhysicalSizeY=1.0, **unit) is None


@pytest.mark.parametrize("comma", ["0,65", "0.65"])
def test_ome_sizes_may_have_a_decimal_comma(comma):
    units = {f"PhysicalSize{axis}": comma for axis in "XY"}
    assert ome(FLAT, "YX", **units) == pytest.approx((6.5e-4, 6.5e-4))


@pytest.mark.parametrize("size", ["1,234.5", "wide", ""])
def test_ome_sizes_that_are_no_numbers_are_no_spacing(size):
    assert ome(FLAT, "YX", PhysicalSizeX=size, PhysicalSizeY="1.0") is None


def imagej(lines):
    description = f"ImageJ=1.53t\nimages=3\nslices=3\n{lines}\nloop=false\n"
    return spacing(
        STACK, dims=3, metadata=None, resolution=(2, 4), resolutionunit="NONE",
        description=description,
    )  # fmt: skip


def test_imagej_may_have_a_unit_for_each_axis():
    assert imagej("unit=um\nspacing=3") == pytest.approx((3e-3, 2.5e-4, 5e-4))
    assert imagej("unit=um\nzunit=mm\nspacing=3") == pytest.approx((3, 2.5e-4, 5e-4))
    assert imagej("unit=um\nyunit=mm\nzunit=nm\nspacing=3") == pytest.approx((3e-6, 0.25, 5e-4))
    assert imagej("unit=um\nzunit=sec\nspacing=3") is None
    assert imagej("unit=um\nspacing=2,5") == pytest.approx((2.5e-3, 2.5e-4, 5e-4))
