"""Errors as ``application/problem+json`` (RFC 9457)."""

import errno
import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from seg.errors import (
    ArchiveAwayError,
    ArchiveError,
    ImageError,
    ImageTooLargeError,
    NotInArchiveError,
    UnsupportedImageError,
)
from service.errors import DecodingFullError, SchedulerClosedError
from service.observability.failure_kinds import note_fault
from service.observability.logs import LOGGER, where_it_failed
from service.problems.document import MEDIA_TYPE, problem

STATUS_OF_ERROR: Mapping[type[Exception], int] = {
    ImageTooLargeError: 413,
    UnsupportedImageError: 415,
    ImageError: 422,
    SchedulerClosedError: 503,
    DecodingFullError: 503,
    NotInArchiveError: 404,
    ArchiveAwayError: 504,
    ArchiveError: 502,
}
"""The first that fits counts; any other error is ours and a 500."""


DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Problem(HTTPException):
    """An answer that is no success; ``detail`` is one sentence for the caller."""


def problem_response(
    status: int, detail: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """A problem as a response."""
    return Response(
        json.dumps(problem(status, detail)) + "\n",
        status_code=status,
        headers=headers,
        media_type=MEDIA_TYPE,
    )


async def on_http_exception(request: Request, error: Exception) -> Response:
    """For errors that carry their status: ours and Starlette's own."""
    assert isinstance(error, HTTPException)
    detail = error.detail
    if type(error) is HTTPException and error.status_code == HTTPStatus.NOT_FOUND:
        detail = "there is nothing at this path; GET /openapi.json lists all there are"
        if b"%2f" in request.scope.get("raw_path", b"").lower():
            detail = (
                "there is nothing at this path, in which %2F counts as a slash; a model whose name "
                "has one is chosen by ?model=NAME alone"
            )
    elif type(error) is HTTPException and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"this path takes {(error.headers or {}).get('Allow', 'other methods')} alone"
    return problem_response(error.status_code, detail, error.headers)


async def on_os_error(request: Request, error: Exception) -> Response:
    """For a disk that is full, which passes; any other error of the system is ours."""
    if not (isinstance(error, OSError) and error.errno in DISK_FULL):
        raise error
    note_fault(request.scope, "disk_full")
    LOGGER.error("disk full", extra={"fields": where_it_failed(error)})
    headers = {"Retry-After": "30", "Connection": "close"}
    return problem_response(503, "the service's disk is full; try again later", headers)


async def on_error(request: Request, error: Exception) -> Response:
    """For errors of seg; those that are no fault of the caller's say nothing of the inside."""
    if isinstance(error, SchedulerClosedError):
        note_fault(request.scope, "shutdown")
    status, detail = status_and_detail(error)
    return problem_response(status, detail, {"Retry-After": "2"} if status == 503 else None)


def status_and_detail(error: Exception) -> tuple[int, str]:
    """What a caller is told of an error of seg or of ours."""
    for kind, status in STATUS_OF_ERROR.items():
        if isinstance(error, kind):
            return status, str(error)
    return 500, "the service failed; its log has more under this X-Request-ID"
