"""What a reverse proxy in front changes: the path below which clients see the service.

``SEG_PROXY`` names it. Where that has a path (``https://seg.example/ai``) or the proxy tells one in
``X-Forwarded-Prefix``, as Traefik does when it takes it off, links and ``Location`` begin with it.
"""

import re
from typing import Any
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

TOLD = "x-forwarded-prefix"
PREFIX = "prefix"
"""In a request's state: what clients see before our paths; empty, or with a slash at its begin."""
VALID_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+){1,16}")
"""No second slash: ``//host`` in a ``Location`` would lead elsewhere."""
LONGEST = 200

SIGNS = re.compile(
    r"forwarded(-.*)?|via|client-ip|x-(forwarded|real|original|client|cluster|envoy|remote|proxy"
    r"|proxyuser|host|scheme|url-scheme|varnish|amzn|amz|azure|arr|nginx|request-start)(-.*)?"
    r"|(true|cf|fastly|fly|do|cdn|front)-.*"
)
"""Headers that only something in between writes."""


def came_through_a_proxy(scope: Scope) -> bool:
    """Whether a request shows that it was passed on.

    A plain ``proxy_pass`` of nginx adds no header; but it speaks HTTP/1.0, as no client of today
    does.
    """
    if scope.get("http_version") == "1.0":
        return True
    return any(SIGNS.fullmatch(name.decode("latin-1").lower()) for name, _ in scope["headers"])


def link(scope: Scope, *parts: str) -> str:
    """A path of the service as the client of this request sees it, its parts quoted."""
    prefix: str = scope.get("state", {}).get(PREFIX, "")
    return prefix + "".join(f"/{quote(part, safe='')}" for part in parts)


class BehindProxy:
    """Wraps an application that a proxy leads to; takes the prefix off where the proxy did not.

    Args:
        app: answers the requests.
        prefix: as ``SEG_PROXY`` has it; empty where the proxy tells it, or has none.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            prefix = self._prefix or _told_prefix(Headers(scope=scope))
            if prefix:
                scope = _without(scope, prefix)
        await self._app(scope, receive, send)


def _told_prefix(headers: Headers) -> str:
    told = headers.get(TOLD, "").rstrip("/")
    return told if len(told) <= LONGEST and VALID_PREFIX.fullmatch(told) else ""


def _without(scope: Scope, prefix: str) -> Scope:
    changed: dict[str, Any] = {**scope, "state": {**scope.get("state", {}), PREFIX: prefix}}
    path: str = scope["path"]
    if path == prefix or path.startswith(f"{prefix}/"):
        changed["path"] = path[len(prefix) :] or "/"
    return changed
