"""What a request can ask for, read from its query before its body is."""

import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.datastructures import QueryParams

from seg.names import FRAME_AXES, FrameAxis
from service.problems.response import Problem
from service.settings import QualityLevel


@dataclass(frozen=True)
class Ask:
    """What a request says of the quality that it wants."""

    quality: QualityLevel | None = None
    """None leaves it to the service."""
    deadline_s: float | None = None
    """Seconds from its arrival after which the answer is of no use."""


QUALITIES: tuple[QualityLevel, ...] = get_args(QualityLevel)
MOST_QUOTED = 40
"""Letters of a wrong value that an error repeats."""


def _parts(value: object) -> object:
    """``a,b`` and repeated options alike."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        return [part.strip() for text in value for part in str(text).split(",") if part.strip()]
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_parts)]


FRAME = rf"^(?:{'|'.join(FRAME_AXES)}):[0-9]{{1,6}}$"
"""Of a stack, in a query."""


def frame_in(text: str) -> tuple[FrameAxis, int]:
    """Axis and number of a frame, of a query.

    Raises:
        Problem: 422, it names none.
    """
    if not re.fullmatch(FRAME, text):
        raise Problem(422, "frame is t, z or position, a colon and a number from 0, as in t:3")
    name, _, number = text.partition(":")
    (axis,) = (each for each in FRAME_AXES if each == name)
    return axis, int(number)


class RequestOptions(BaseModel):
    """Options of ``POST /segment`` and ``POST /jobs``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str | None = None
    """``name`` or ``name:version``; none is the model that answers by default."""
    format: Names = ()
    """Files to answer with; none leaves it to ``Accept``."""
    classes: Names = ()
    """The only classes in masks, measurements and maps; none stands for all."""
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Probability above which a voxel is foreground."""
    split: bool = False
    """Split objects that touch by their shape, of a model that does not tell them apart itself."""
    mirror: bool = False
    """Average over all mirrors of every patch."""
    quality: QualityLevel | None = None
    """Best quality that is wanted; lower ones may answer where the service allows them."""
    deadline_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Milliseconds after which the answer is of no use."""
    measurements: bool = False
    """Add one table of the sizes and intensities of all images."""
    series: Annotated[str, Field(pattern=r"^[0-9.]{1,64}$")] | None = None
    """SeriesInstanceUID of the DICOM series to segment, where a ZIP file holds several."""
    frame: Annotated[str, Field(pattern=FRAME)] | None = None
    """The frame of a stack to segment: its axis, ``t``, ``z`` or ``position``, a colon, and its
    number from 0."""

    @property
    def ask(self) -> Ask:
        """What is said of quality."""
        return Ask(self.quality, None if self.deadline_ms is None else self.deadline_ms / 1000)


def options_of(query: QueryParams) -> RequestOptions:
    """The options of a request.

    Raises:
        Problem: 422 for an unknown option or a value that it cannot have.
    """
    several: dict[str, list[str]] = {}
    for name, value in query.multi_items():
        several.setdefault(name, []).append(value)
    given: dict[str, Any] = {}
    for name, values in several.items():
        is_list = name in RequestOptions.model_fields and _is_tuple(
            RequestOptions.model_fields[name].annotation
        )
        if len(values) > 1 and not is_list and name in RequestOptions.model_fields:
            raise Problem(422, f"{name} is given {len(values)} times, once is needed")
        given[name] = values if is_list else values[0]
    try:
        return RequestOptions.model_validate(given)
    except ValidationError as error:
        raise Problem(422, _sentence(error.errors()[0])) from None


def _sentence(error: Mapping[str, Any]) -> str:
    name = str(error["loc"][0])
    quoted = repr(str(error["input"])[:MOST_QUOTED])
    if error["type"] == "extra_forbidden":
        known = ", ".join(RequestOptions.model_fields)
        return f"there is no option {name[:MOST_QUOTED]!r}; the options are {known}"
    if name == "quality":
        return f"quality is {', '.join(QUALITIES)}, got {quoted}"
    if name == "deadline_ms":
        return f"deadline_ms is a number of milliseconds above 0, got {quoted}"
    if name == "frame":
        return f"frame is t, z or position, a colon and a number from 0, as in t:3; got {quoted}"
    if error["type"] in ("bool_parsing", "bool_type"):
        return f"{name} is true or false, got {quoted}"
    return f"{name} cannot be {quoted}: {error['msg'].lower()}"


def _is_tuple(annotation: object) -> bool:
    args = typing.get_args(annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return any(_is_tuple(arg) for arg in args)
    return typing.get_origin(annotation) is tuple
