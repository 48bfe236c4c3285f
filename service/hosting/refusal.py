"""The answer to what never becomes a request of the application."""

import json
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from service.observability.logs import LOGGER
from service.problems.document import MEDIA_TYPE, problem


def refusal(status: int, detail: str, headers: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """A problem as it goes over the wire, behind which the connection ends; it is logged."""
    request_id = uuid.uuid4().hex
    fields = {"route": "unknown", "request_id": request_id, "status": status}
    LOGGER.info("request", extra={"fields": fields})
    return last_answer(status, detail, request_id, headers)


def last_answer(
    status: int, detail: str, request_id: str, headers: Mapping[str, str] = MappingProxyType({})
) -> bytes:
    """The same, unlogged, of a request that has an id."""
    body = json.dumps(problem(status, detail)).encode() + b"\n"
    all_headers = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "X-Request-ID": request_id,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Connection": "close",
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{head}\r\n".encode() + body
