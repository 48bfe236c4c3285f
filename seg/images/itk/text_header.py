"""What the text headers of NRRD and MetaImage have in common."""

import re
from collections.abc import Sequence
from math import prod
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from jaxtyping import Float, Real

from seg.errors import ImageError, UnsupportedImageError
from seg.images.grid.image import Affine, Spacing
from seg.images.grid.limits import ReadOptions
from seg.images.storage.files import BinaryFile
from seg.images.storage.folders import MAX_FILES
from seg.images.storage.voxels import raw_voxels

MAX_LINE_BYTES = 2**20
MAX_BYTES = 2**27
"""Of a header; ten lines tell of one segment of 3D Slicer."""

_PATTERN = re.compile(r"[^%]*%0?\d{0,2}d[^%]*")


def header_lines(file: BinaryFile, end: str) -> list[str]:
    """Lines from where the file stands to the one that begins with ``end``, or to the last.

    Raises:
        ImageError: they do not come to an end, or one of them.
    """
    lines: list[str] = []
    read = 0
    while True:
        line = file.readline(MAX_LINE_BYTES)
        read += len(line)
        if len(line) == MAX_LINE_BYTES or read > MAX_BYTES:  # what follows would be voxels
            raise ImageError(
                f"the header is longer than {MAX_BYTES // 2**20} MiB, or a line of it than "
                f"{MAX_LINE_BYTES // 2**20}; is this the whole file, or one of another format?"
            )
        text = line.decode("utf-8", errors="replace").rstrip("\r\n")
        if not line or (end == "" and text == ""):
            break
        lines.append(text)
        if end and text.startswith(end):
            break
    return lines


def numbers(text: str, count: int, what: str) -> Float[np.ndarray, "n"]:
    """``count`` finite numbers of a header's line.

    Raises:
        ImageError: there are others.
    """
    try:
        values = np.array([float(word) for word in text.split()])
    except ValueError:
        values = np.empty(0)
    if len(values) != count or not np.isfinite(values).all():
        raise ImageError(f"the header's {what} must be {count} finite numbers; repair the header")
    return values


def lengths(text: str, count: int, what: str) -> tuple[int, ...]:
    """``count`` whole numbers above 0.

    Raises:
        ImageError: there are others.
    """
    values = numbers(text, count, what)
    if not ((values >= 1) & (values < 2**53) & (values == np.floor(values))).all():
        raise ImageError(f"the header's {what} must be whole numbers above 0; repair the header")
    return tuple(int(value) for value in values)


def grid(
    axes: Sequence[Float[np.ndarray, "3"]], origin: Float[np.ndarray, "3"]
) -> tuple[Spacing, Affine]:
    """Spacing and affine from the steps along the file's axes x, y, z, in RAS+ mm.

    Two axes get a third at a right angle, 1 mm long.

    Raises:
        ImageError: the steps span no volume.
    """
    steps = list(axes)
    sizes = [float(np.linalg.norm(step)) for step in steps]
    if len(steps) == 2:
        normal = np.cross(steps[0], steps[1])
        steps.append(normal / (np.linalg.norm(normal) or 1.0))
    affine = np.eye(4)
    affine[:3, :3] = np.stack(steps, axis=1)
    affine[:3, 3] = origin
    if min(sizes) == 0 or np.linalg.det(affine[:3, :3]) == 0:
        raise ImageError("the header's axes span no volume; repair its directions")
    return tuple(sizes[::-1]), affine


def check_dims(spatial: tuple[int, ...], options: ReadOptions, kind: str) -> int:
    """How many axes the image is to have: 2 also for a single slice where 2 are wanted.

    Raises:
        ImageError: the file is no such image.
    """
    if options.dims == 3 and len(spatial) == 2:
        raise ImageError(f"a volume is needed, the {kind} file is flat")
    if options.dims == 2 and len(spatial) == 3 and spatial[0] > 1:
        raise ImageError(
            f"a 2D image is needed, the {kind} file is a volume of {spatial[0]} slices; "
            "send one slice"
        )
    return 2 if options.dims == 2 else len(spatial)


def many_files(where: str, listed: Sequence[str], kind: str) -> list[str] | None:
    """Names of the files that a header spreads its voxels over; None where it names one or none.

    Args:
        where: ``LIST``, with the names in the lines behind it, or a pattern with first and last
            number and step, ``slice%03d.raw 1 20 1``.
        listed: The lines behind it.
        kind: Of the header, for messages.

    Raises:
        ImageError: the pattern or its numbers are none, or there are too many files.
    """
    words = where.split()
    if words and words[0].upper() == "LIST":
        names = [line.strip() for line in listed if line.strip()]
    elif "%" in where:
        pattern, *rest = words
        if not _PATTERN.fullmatch(pattern) or not 3 <= len(rest) <= 4:
            raise ImageError(
                f"the {kind} header must name many files as NAME%03d.raw FIRST LAST STEP; repair it"
            )
        first, last, step = (int(number) for number in numbers(" ".join(rest[:3]), 3, "file names"))
        count = (last - first) // step + 1 if step else 0
        if not 0 < count <= MAX_FILES:
            raise ImageError(f"the {kind} header names {count} files; repair its numbers")
        names = [pattern % number for number in range(first, first + count * step, step)]
    else:
        return None
    if not 0 < len(names) <= MAX_FILES:
        raise ImageError(f"the {kind} header lists {len(names)} files; repair it")
    return names


def voxels_of_many(
    names: Sequence[str],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    options: ReadOptions,
    kind: str,
    *,
    deflated: bool,
) -> Real[np.ndarray, "..."]:
    """An array of ``shape`` whose parts lie in files, one behind the other.

    Raises:
        ImageError: a file is not beside the header, or too short.
        zlib.error: a deflated file is damaged.
    """
    size, rest = divmod(prod(shape), len(names))
    if rest:
        raise ImageError(
            f"the {kind} header spreads {prod(shape):,} voxels over {len(names)} files, which are "
            "no equal parts; repair it"
        )
    array = np.empty(prod(shape), dtype.newbyteorder("="))
    for number, name in enumerate(names):
        with beside(name, options, kind) as file:
            part = raw_voxels(file, (size,), dtype, deflated=deflated)
        array[number * size : (number + 1) * size] = part
    return array.reshape(shape)


def beside(name: str, options: ReadOptions, kind: str) -> BinaryFile:
    """The file with the voxels, opened, where a header only names it.

    Raises:
        ImageError: it does not lie beside the header, or the header came without a folder.
    """
    if options.folder is None:
        raise UnsupportedImageError(
            f"the {kind} header names a second file that holds the voxels; send both in one, as "
            "SimpleITK writes .nrrd or .mha"
        )
    below = PurePosixPath(name.replace("\\", "/"))  # without "./"
    if below.is_absolute() or PureWindowsPath(name).drive or ".." in below.parts:
        raise ImageError(f"the {kind} header must name a file beside it, not a path elsewhere")
    path = options.folder / below
    try:
        if path.is_file():  # nor a pipe, which would be waited for
            return path.open("rb")
    except (OSError, ValueError) as error:
        raise ImageError(
            f"the {kind} header names a file for the voxels that cannot be opened"
        ) from error
    raise ImageError(f"the {kind} header names a file for the voxels that is not beside it")
