"""The answer to what never becomes a request of the application."""

import json
import uuid
from http import HTTPStatus

from service.observability.logs import LOGGER
from service.problems.document import MEDIA_TYPE, problem


def refusal(status: int, detail: str) -> bytes:
    """A problem as it goes over the wire, behind which the connection ends; it is logged."""
    request_id = uuid.uuid4().hex
    body = json.dumps(problem(status, detail)).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        f"x-request-id: {request_id}\r\nx-content-type-options: nosniff\r\n"
        "cache-control: no-store\r\nconnection: close\r\n\r\n"
    )
    fields = {"route": "unknown", "request_id": request_id, "status": status}
    LOGGER.info("request", extra={"fields": fields})
    return head.encode() + body
