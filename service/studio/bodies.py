"""Label maps and parameters as they go over the wire."""

import gzip
import zlib
from typing import Annotated, BinaryIO, Literal, TypeVar

import numpy as np
from jaxtyping import UInt16
from pydantic import BaseModel, Field, ValidationError
from starlette.responses import Response

from seg.frozen import FrozenData
from seg.images import Image
from service.problems.response import Problem
from service.studio.drawn import from_bin
from service.studio.on_disk.revisions import DrawnState

Params = TypeVar("Params", bound=BaseModel)


BYTES_EACH = 12
"""That reading and writing a label map takes for each of its voxels."""


class NamedClass(FrozenData):
    """A class that somebody names."""

    name: Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f,]+$")]
    color: (
        tuple[
            Annotated[int, Field(ge=0, le=255)],
            Annotated[int, Field(ge=0, le=255)],
            Annotated[int, Field(ge=0, le=255)],
        ]
        | None
    ) = None


class NewDataset(FrozenData):
    """``PUT /studio/dataset``."""

    classes: Annotated[tuple[NamedClass, ...], Field(min_length=1, max_length=200)]
    """Without the background."""
    objects: bool = True
    """Objects are told apart."""


class DrawnParams(FrozenData):
    """``params`` of ``PUT /studio/images/ID/label``."""

    state: DrawnState = "draft"
    objects: dict[int, str] = Field(default_factory=dict)
    """Class of each object, where there is more than one class of them."""
    package: Annotated[str, Field(max_length=200)] | None = None
    seconds: Annotated[float, Field(ge=0, le=86_400)] | None = None
    content: Annotated[str, Field(max_length=64)] | None = None
    """Of the image that it was drawn on, as ``GET /studio/images/ID`` says it."""
    sitting: Annotated[str, Field(max_length=64)] = ""
    """A name that a client gives itself: its drafts that follow each other are one version."""
    rest: Literal["background", "ignore"] = "background"
    """Of polygons: what lies in none, ``background`` or ``ignore``."""


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
