"""Voxel size of a TIFF in mm, from wherever the writing program has put it."""

import math
import re
from xml.etree import ElementTree

from tifffile import RESUNIT, TiffFile, TiffPage

from seg.images.grid.image import Spacing
from seg.images.grid.units import MM

PRINT_DPI = (72, 96, 100, 120, 150, 200, 240, 300, 400, 600, 1200)
"""Dots an inch that programs write unasked; some tell them in centimetres."""


def spacing_of(tiff: TiffFile, page: TiffPage, dims: int) -> Spacing | None:
    """Millimetres along ``(z, y, x)`` or ``(y, x)``; None where one of them is not stated."""
    if tiff.is_ome and tiff.ome_metadata is not None:
        found = _from_ome(tiff.ome_metadata)
    elif tiff.is_imagej and tiff.imagej_metadata is not None:
        found = _from_imagej(tiff.imagej_metadata, page)
    elif tiff.is_svs:
        found = _from_aperio(page)
    else:
        found = _from_tags(page)
    spacing = tuple(found.get(axis, math.nan) for axis in "zyx"[-dims:])
    return spacing if all(0 < mm < math.inf for mm in spacing) else None


def _from_ome(xml: str) -> dict[str, float]:
    pixels = ElementTree.fromstring(xml).find(".//{*}Pixels")
    if pixels is None:
        return {}
    found = {}
    for axis in "ZYX":
        size = pixels.get(f"PhysicalSize{axis}")
        unit = pixels.get(f"PhysicalSize{axis}Unit", "um")
        if size is not None and _known(unit):
            found[axis.lower()] = _in_mm(_number(size), unit)
    return found


def _from_imagej(metadata: dict[str, object], page: TiffPage) -> dict[str, float]:
    """``yunit`` and ``zunit`` stand where they differ from the unit of x."""
    sizes = _pixel_size(page)
    if "spacing" in metadata:
        sizes["z"] = abs(_number(str(metadata["spacing"])))
    found = {}
    for axis, size in sizes.items():
        unit = str(metadata.get(f"{axis}unit", metadata.get("unit", "")))
        if _known(unit):
            found[axis] = _in_mm(size, unit)
    return found


def _from_aperio(page: TiffPage) -> dict[str, float]:
    """``MPP`` in the description: micrometres a pixel."""
    match = re.search(r"\|\s*MPP\s*=\s*([0-9.]+)", str(page.description))
    size = _number(match[1]) * MM["um"] if match else math.nan
    return {"x": size, "y": size}


def _from_tags(page: TiffPage) -> dict[str, float]:
    if page.tags.valueof("ResolutionUnit") != RESUNIT.CENTIMETER:
        return {}
    found = {axis: _in_mm(size, "cm") for axis, size in _pixel_size(page).items()}
    return {} if any(_is_for_print(mm) for mm in found.values()) else found


def _pixel_size(page: TiffPage) -> dict[str, float]:
    """Size of a pixel in the file's own unit."""
    found = {}
    for axis, tag in (("x", "XResolution"), ("y", "YResolution")):
        pixels, units = page.tags.valueof(tag) or (0, 0)
        if pixels > 0:
            found[axis] = units / pixels
    return found


def _is_for_print(mm: float) -> bool:
    if mm == 10.0:  # one pixel a centimetre: the number that was never set
        return True
    return any(math.isclose(25.4 / mm, dpi, rel_tol=1e-3) for dpi in PRINT_DPI if mm > 0)


def _number(text: str) -> float:
    """Also with a comma, which some European programs write; NaN where it is no number."""
    try:
        return float(text.replace(",", ".") if "." not in text else text)
    except ValueError:
        return math.nan


def _known(unit: str) -> bool:
    return _plain(unit) in MM


def _in_mm(size: float, unit: str) -> float:
    return size * MM[_plain(unit)]


def _plain(unit: str) -> str:
    # Micro has two code points, the sign and the Greek letter, and ImageJ escapes it.
    return unit.strip().lower().replace("\\u00b5", "\u00b5").replace("\u03bc", "\u00b5")
