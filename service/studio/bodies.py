"""Label maps and parameters as they go over the wire."""

import gzip
import zlib
from typing import BinaryIO, TypeVar

import numpy as np
from jaxtyping import UInt16
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from seg.images import Image
from service.problems.response import Problem
from service.studio.drawn import from_bin

Params = TypeVar("Params", bound=BaseModel)


BYTES_EACH = 12
"""That reading and writing a label map takes for each of its voxels."""


def as_bin(numbers: UInt16[np.ndarray, "*spatial"]) -> bytes:
    """As it goes over the wire."""
    return numbers.astype("<u2").tobytes()


def packed(content: bytes) -> bytes:
    """A label map for `bin_response`: most of it is one number."""
    return gzip.compress(content, compresslevel=1, mtime=0)


def bin_response(content: bytes, headers: dict[str, str]) -> Response:
    """A label map that is packed."""
    return Response(
        content,
        headers={**headers, "Content-Encoding": "gzip"},
        media_type="application/octet-stream",
    )


def numbers_of(file: BinaryIO, name: str, image: Image) -> UInt16[np.ndarray, "*spatial"]:
    """A label map as it came.

    Raises:
        Problem: 422, it is damaged or does not lie on the image.
    """
    voxels = int(np.prod(image.spatial_shape))
    file.seek(0)
    if not name.endswith(".gz"):
        return np.asarray(from_bin(file.read(2 * voxels + 1), image).array[0], np.uint16)
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as packed:
            content = packed.read(2 * voxels + 1)
    except (OSError, EOFError, ValueError, zlib.error):
        raise Problem(422, "the packed label map is damaged") from None
    return np.asarray(from_bin(content, image).array[0], np.uint16)


def checked(model: type[Params], body: bytes, what: str) -> Params:
    """JSON that somebody sent.

    Raises:
        Problem: 422, a field cannot be what it is.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        fields = ", ".join(model.model_fields)
        raise Problem(422, f"{where}: {first['msg'].lower()}; {what} has {fields}") from None
