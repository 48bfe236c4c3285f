"""Files to try a tutorial with: they look like what people have, and show nothing real."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image as Picture

from data.dicom_series import write_series
from data.phantom import draw
from seg.errors import DatasetError
from seg.images import Image, read_image, read_mask, write_image

CASES = 12
NEW = 2
"""Of them, those without a mask."""
PICTURE_SIZE = (128, 128)
VOLUME_SIZE = (12, 64, 64)
SPACING = (3.0, 1.0, 1.0)
"""mm, along (z, y, x)."""
AFFINE = np.diag((*SPACING[::-1], 1.0))


CELLS = """\
name: cells
classes:
  - {name: background, value: 0}
  - {name: cytoplasm, value: 1}
  - {name: nucleus, value: 2}
"""
"""What the values of their masks mean."""


def cells(folder: Path) -> None:
    """Pictures of cells with masks that say what they mean, and new ones without."""
    for number, (shades, labels) in enumerate(_drawn(2, PICTURE_SIZE, seed=1)):
        is_new = number >= CASES - NEW
        name = f"well{number:02}.png"
        _save(folder / ("new" if is_new else "cells/images") / name, (255 * shades[0]).astype("u1"))
        if not is_new:
            _save(folder / "cells/masks" / name, labels)
    (folder / "cells/dataset.yaml").write_text(CELLS, encoding="utf-8")


def ct(folder: Path) -> None:
    """CT volumes with masks in NIfTI, and new ones without."""
    for number, (shades, labels) in enumerate(_drawn(3, VOLUME_SIZE, seed=2)):
        is_new = number >= CASES - NEW
        name = f"p{number:02}.nii.gz"
        image = Image(_hounsfield(shades[:1]), SPACING, AFFINE)
        _write(folder / ("new" if is_new else "liver/images") / name, image)
        if not is_new:
            _write(folder / "liver/masks" / name, Image(labels[np.newaxis], SPACING, AFFINE))


def dicom(folder: Path) -> None:
    """A CT series of a patient, a file a slice."""
    shades, _ = next(iter(_drawn(3, VOLUME_SIZE, seed=3)))
    write_series(folder / "series", _hounsfield(shades[0]), SPACING)


def brain(folder: Path) -> None:
    """A dataset of two channels, and new volumes: a file a channel, and both in one."""
    draw(folder / "brain", dims=3, cases=CASES, size=VOLUME_SIZE, seed=4, name="brain")
    for number, (shades, _) in enumerate(_drawn(3, VOLUME_SIZE, seed=5)):
        pixels = (255 * shades).astype(np.uint8)
        if number == 0:
            _write(folder / "scan.nii.gz", Image(pixels, SPACING, AFFINE))
            for channel, name in zip(pixels, ("t1", "flair"), strict=True):
                _write(folder / f"{name}.nii.gz", Image(channel[np.newaxis], SPACING, AFFINE))
        elif number <= NEW:
            _write(folder / "scans" / f"p{number}.nii.gz", Image(pixels, SPACING, AFFINE))


KINDS: dict[str, Callable[[Path], None]] = {
    "cells": cells,
    "ct": ct,
    "dicom": dicom,
    "brain": brain,
}


def _drawn(
    dims: Literal[2, 3], size: tuple[int, ...], seed: int
) -> Iterator[tuple[Float[np.ndarray, "2 *size"], UInt8[np.ndarray, "*size"]]]:
    """Cases of a phantom: both channels between 0 and 1, and the labels."""
    with tempfile.TemporaryDirectory(prefix="seg-drawn-") as place:
        raw = draw(Path(place) / "raw", dims=dims, cases=CASES, size=size, seed=seed)
        for mask in sorted(raw.glob("labels*/*")):
            stem = mask.name.partition(".")[0]
            files = sorted(raw.glob(f"images*/{stem}_*"))
            array = np.concatenate([read_image(file).array for file in files]).astype(float)
            axes = tuple(range(1, array.ndim))
            low, high = (f(array, axis=axes, keepdims=True) for f in (np.min, np.max))
            yield (array - low) / (high - low), read_mask(mask).array.astype(np.uint8)


def _hounsfield(shades: Float[np.ndarray, "*size"]) -> np.ndarray:
    """From air to bone, in Hounsfield units."""
    return (1200 * shades - 1000).astype(np.int16)


def _save(file: Path, pixels: UInt8[np.ndarray, "y x"]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(pixels).save(file)


def _write(file: Path, image: Image) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_image(file, image)


def draw_into(folder: Path, kind: str) -> list[Path]:
    """What was laid into the folder: all of the kind, or nothing.

    Raises:
        DatasetError: something of its name is there, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".drawn-", dir=folder) as place:
            KINDS[kind](Path(place))
            drawn = sorted(Path(place).iterdir())
            for each in drawn:
                if (folder / each.name).exists():
                    raise DatasetError(
                        f"{folder / each.name} exists; move it away or name another folder"
                    )
            for each in drawn:
                shutil.move(each, folder / each.name)
    except OSError as error:
        raise DatasetError(f"{folder} cannot be written: {error}; name another folder") from error
    return [folder / each.name for each in drawn]
