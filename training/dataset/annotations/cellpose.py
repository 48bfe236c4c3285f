"""cellpose: ``NAME_seg.npy``, whose masks are taken out without running what else is in it.

The file is a pickled dictionary. Nothing that it names is imported or called: stand-ins take the
places of numpy's own functions and note what they are given. Source: cellpose's
documentation, "Outputs".
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, Integer, UInt8
from numpy.lib import format as npy

from seg.errors import ImageError
from seg.images import Image
from seg.images.outlines.drawing import OBJECT
from training.dataset.annotations.annotated import Annotated

_WHOLE = "biu"


class _Noted:
    """Stands in for an object: keeps what it was made of, does nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_Noted):
    """An array: its state is version, shape, dtype, order and bytes."""


class _Dtype(_Noted):
    """A dtype: its first argument is such as ``u2``."""


def _bytes_of(text: Any, encoding: Any = "latin1") -> bytes:
    """How old protocols write bytes: as text of their numbers."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("bytes that are no text")
    return text.encode("latin1")


class _Reader(pickle.Unpickler):
    """Unpickles into stand-ins alone."""

    def find_class(self, module: str, name: str) -> Any:
        """Never what the file names."""
        stand_ins = {
            "_reconstruct": _Array,
            "dtype": _Dtype,
            "encode": _bytes_of,
        }
        return stand_ins.get(name, _Noted)


def is_cellpose(path: Path) -> bool:
    """The file is called as cellpose's are, and is an array of one object."""
    return path.name.lower().endswith("_seg.npy")


@dataclass(frozen=True, slots=True)
class NumberedMasks:
    """Masks that are read when they are asked for: every value above 0 is an object."""

    path: Path

    @property
    def are_numbered(self) -> bool:
        """All that is there are objects."""
        return True

    def labels(self) -> set[str]:
        """The one class."""
        return {OBJECT}

    def painted(self, image: Image, label_of: Mapping[str, int]) -> UInt8[np.ndarray, "*spatial"]:
        """Labels on the image's grid.

        Raises:
            ImageError: the file is damaged, or was drawn on an image of another size.
        """
        inside = self.numbered(image) > 0
        return np.where(inside, np.uint8(label_of[OBJECT]), np.uint8(0))

    def numbered(self, image: Image) -> Int32[np.ndarray, "*spatial"]:
        """The numbers of the file.

        Raises:
            ImageError: the file is damaged, or was drawn on an image of another size.
        """
        masks = read_masks(self.path)
        if masks.shape != image.spatial_shape:
            raise ImageError(
                f"this was drawn on an image of {_size(masks.shape)} pixels, the image has "
                f"{_size(image.spatial_shape)}; export it for this image, or find the image"
            )
        return masks.astype(np.int32)


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def read_cellpose(path: Path) -> Annotated:
    """All objects as one class.

    Raises:
        ImageError: the file is damaged, or holds no masks.
    """
    read_masks(path)
    return Annotated("cellpose", {"": NumberedMasks(path)}, (OBJECT,))


def read_masks(path: Path) -> Integer[np.ndarray, "*spatial"]:
    """The numbers of objects, 0 where there is none.

    Raises:
        ImageError: the file is damaged, or holds no masks.
    """
    try:
        with path.open("rb") as file:
            version = npy.read_magic(file)
            header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            _, _, dtype = header(file)
            if dtype != np.dtype("O"):
                raise ImageError(f"{path} is no file of cellpose: it holds numbers alone")
            top = _Reader(file).load()
        content = top.state[-1][0] if isinstance(top, _Array) else top
        return _array(content["masks"])
    except ImageError:
        raise
    except Exception as error:  # a damaged stream raises whatever its next byte stands for
        raise ImageError(f"{path} is no file of cellpose: {error!r:.100}") from error


def _array(noted: Any) -> Integer[np.ndarray, "*spatial"]:
    if not isinstance(noted, _Array) or noted.state is None:
        raise ImageError("its masks are no array")
    _, shape, dtype, is_fortran, content = noted.state
    code = str(dtype.arguments[0])
    order: Any = dtype.state[1] if dtype.state else "<"
    kind = np.dtype(code)
    if kind.kind not in _WHOLE or len(shape) not in (2, 3) or not isinstance(content, bytes):
        raise ImageError(f"its masks are no whole numbers of an image or a volume ({code})")
    numbers = np.frombuffer(content, kind.newbyteorder(order))
    return numbers.reshape(shape, order="F" if is_fortran else "C")
