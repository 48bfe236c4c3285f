"""Bodies that are short, and read whole."""

from starlette.requests import Request

from service.problems.response import Problem


async def short_body(request: Request, most: int, too_long: Problem) -> bytes:
    """The bytes of a body.

    Args:
        request: whose body it is.
        most: bytes; nothing is read beyond.
        too_long: what is said of a longer one.

    Raises:
        Problem: that one.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise too_long
    return bytes(body)
