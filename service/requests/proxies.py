"""What a reverse proxy in front changes: the path below which clients see the service.

``SEG_PROXY`` names it. Where that has a path (``https://seg.example/ai``) or the proxy tells one in
``X-Forwarded-Prefix``, as Traefik does when it takes it off, links and ``Location`` begin with it.
A path that is named may come with a request or not; one that is told has been taken off.
"""

import re
from urllib.parse import quote

from starlette.datastructures import URL, Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from seg.errors import ConfigError

TOLD = "x-forwarded-prefix"
PREFIX = "prefix"
"""In a request's state: what clients see before our paths; empty, or with a slash at its begin."""
VALID_PREFIX = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+){1,16}")
"""No second slash: ``//host`` in a ``Location`` would lead elsewhere, and so would dots."""
LONGEST = 200
OWN = frozenset(
    {"segment", "picture", "jobs", "model", "models", "infer_patches", "page", "studio", "v2"}
    | {"livez", "readyz", "metrics", "openapi.json", "schema.json", "docs.json"}
    | {"info", "auth", "session", "infer", "train", "activelearning", "datastore", "dicomweb"}
    | {"dicom-web", "label-studio"}
)
"""With what our own paths begin."""
ORIGIN = re.compile(r"https?://[^/]+")

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


def address(scope: Scope, proxy: str | None, *parts: str) -> str:
    """A link with the origin by which clients reach the service.

    Args:
        scope: of the request.
        proxy: ``SEG_PROXY``, which counts where it is a whole address: between the proxy and here
            there may be no TLS and another name.
        *parts: of the path.
    """
    named = ORIGIN.match(proxy or "")
    url = URL(scope=scope)
    origin = named[0] if named else f"{url.scheme}://{url.netloc}"
    return origin + link(scope, *parts)


def link(scope: Scope, *parts: str) -> str:
    """A path of the service as the client of this request sees it, its parts quoted."""
    prefix: str = scope.get("state", {}).get(PREFIX, "")
    return prefix + "".join(f"/{quote(part, safe='')}" for part in parts)


def check_prefix(prefix: str) -> None:
    """Whether a prefix can be told from our own paths, taken off by a proxy or not.

    Raises:
        ConfigError: it cannot.
    """
    if not prefix:
        return
    first = prefix.split("/")[1]
    if first in OWN:
        raise ConfigError(
            f"SEG_PROXY cannot have the path {prefix}, since paths of the service begin with "
            f"/{first} as well; choose another, or let the proxy take it off, tell it in "
            "X-Forwarded-Prefix, and leave it out of SEG_PROXY"
        )
    if not VALID_PREFIX.fullmatch(prefix):
        raise ConfigError(f"SEG_PROXY cannot have the path {prefix}; name one like /ai")


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
            prefix = self._prefix
            if prefix and scope["path"] == prefix and scope["method"] in ("GET", "HEAD"):
                # the page's own links are relative
                await RedirectResponse(f"{prefix}/", 308)(scope, receive, send)
                return
            if prefix:
                scope = _without(_below(scope, prefix), prefix)
            elif told := _told_prefix(Headers(scope=scope)):
                scope = _below(scope, told)
        await self._app(scope, receive, send)


def _told_prefix(headers: Headers) -> str:
    """What proxies have taken off: of several, one behind the other, the outermost tells first."""
    each = ",".join(headers.getlist(TOLD)).split(",")
    told = "".join(part.strip().rstrip("/") for part in each)
    return told if len(told) <= LONGEST and VALID_PREFIX.fullmatch(told) else ""


def _below(scope: Scope, prefix: str) -> Scope:
    """A request whose answer's links begin with a prefix."""
    return {**scope, "state": {**scope.get("state", {}), PREFIX: prefix}}


def _without(scope: Scope, prefix: str) -> Scope:
    path: str = scope["path"]
    if path == prefix or path.startswith(f"{prefix}/"):
        return {**scope, "path": path[len(prefix) :] or "/"}
    return scope
