"""What ``POST /dicomweb/jobs`` is asked for."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.datastructures import QueryParams
from starlette.requests import Request

from seg.dicomweb.addresses import is_uid
from service.jobs.deciding import formats_named
from service.problems.response import Problem
from service.requests.bodies import short_body
from service.requests.options import MOST_QUOTED, RequestOptions, options_of

MOST_BYTES = 1 << 16
DEFAULT = "dicom-seg"


def _list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _uid(value: object) -> object:
    if not (isinstance(value, str) and is_uid(value)):
        raise ValueError("a UID has digits and dots, 64 at most")
    return value


Uid = Annotated[str, BeforeValidator(_uid)]


class SeriesWish(BaseModel):
    """Which series, and what of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    source: str
    """An archive of ``SEG_DICOMWEB``."""
    study: Uid | None = None
    """None leaves it to the archive to find it."""
    series: Uid
    format: Annotated[tuple[str, ...], BeforeValidator(_list), Field(max_length=8)] = (DEFAULT,)
    model: str | None = None
    destination: str | None = None
    """Where results are stored; None is the source."""
    classes: Annotated[tuple[str, ...], BeforeValidator(_list)] = ()
    threshold: float | None = None
    mirror: bool = False

    def options(self) -> RequestOptions:
        """As a query would have them.

        Raises:
            Problem: 422, an option cannot be what it is.
        """
        given: list[tuple[str, str]] = [("format", name) for name in formats_named(self.format)]
        given += [("classes", name) for name in self.classes]
        given += [("mirror", str(self.mirror).lower())]
        if self.model is not None:
            given.append(("model", self.model))
        if self.threshold is not None:
            given.append(("threshold", str(self.threshold)))
        return options_of(QueryParams(given))


async def wish_of(request: Request) -> SeriesWish:
    """What a request asks for.

    Raises:
        Problem: 413, it is too long; 422, it is none.
    """
    too_long = Problem(413, f"the JSON of a job has {MOST_BYTES >> 10} KiB at most")
    content = await short_body(request, MOST_BYTES, too_long)
    try:
        return SeriesWish.model_validate_json(content)
    except ValidationError as error:
        raise Problem(422, _sentence(error.errors(include_input=False)[0])) from None


def _sentence(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])[:MOST_QUOTED]
    known = ", ".join(SeriesWish.model_fields)
    if error["type"] == "extra_forbidden":
        return f"there is no field {where!r}; the fields are {known}"
    if error["type"] == "missing":
        return f"{where} is missing; a job is JSON with source and series, and may have {known}"
    if not where:
        return "a job is a JSON object with source and series"
    said = error["msg"].removeprefix("Value error, ")
    return f"{where}: {said}"
