"""A problem as plain data (RFC 9457): for processes that import little."""

from http import HTTPStatus

MEDIA_TYPE = "application/problem+json"


def problem(status: int, detail: str | None = None) -> dict[str, str | int]:
    """A problem as plain data."""
    phrase = HTTPStatus(status).phrase
    body: dict[str, str | int] = {"type": "about:blank", "title": phrase, "status": int(status)}
    if detail and detail != phrase:
        body["detail"] = detail
    return body
