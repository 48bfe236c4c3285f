"""Requests that two programs may read in two ways: refused before anybody asks who sent them.

A proxy that takes the first of two keys and a service that takes the last one disagree on who asks.
Source: RFC 9110, 5.3, 8.4 and 10.1.1; RFC 9112, 3.2 and 6.1.
"""

import re
from collections import Counter

from starlette.types import Scope

from service.hosting.bounded_http import TARGET

ONCE = frozenset({"host", "authorization", "x-api-key", "idempotency-key", "content-type"})
"""Headers that are no lists."""
CONTINUE = "100-continue"
AS_IT_IS = frozenset({"", "identity", "gzip", "x-gzip"})
"""Codings of a body that change nothing here: gzip is what many programs say of a ``.nii.gz``."""
HOST = re.compile(r"(\[[0-9a-f:.]+\]|([\w.~!$&'()*+,;=-]|%[0-9a-f]{2})*)(:\d{0,5})?", re.A | re.I)
"""A name or an address, and a port. Source: RFC 3986, 3.2.2."""
ABSOLUTE = re.compile(rb"(?i)(https?)://([^/?#]*)")
DEFAULT_PORTS = {"http": ":80", "https": ":443"}
UNPACKS = "/v2/"
"""Where bodies are unpacked."""


def ambiguity(scope: Scope) -> tuple[int, str] | None:
    """Status and sentence of the refusal of a request; None of those that are read in one way."""
    names = Counter(name.decode("latin-1") for name, _ in scope["headers"])
    if twice := sorted(name for name in ONCE if names[name] > 1):
        return 400, f"a request has one header {twice[0].title()}, this one has several"
    values = {name: value.decode("latin-1").strip() for name, value in scope["headers"]}
    if b"host" not in values and scope["http_version"] == "1.1":
        return 400, "a request of HTTP/1.1 says in Host whom it asks, this one has none"
    if not HOST.fullmatch(values.get(b"host", "")):
        return 400, "Host is a name or an address, and a port, as in Host: seg.example:3000"
    if not _is_host_of(scope.get("state", {}).get(TARGET, b""), values.get(b"host", "")):
        return 400, "a request asks one host, this one names another in Host than in its first line"
    if values.get(b"expect", CONTINUE).lower() != CONTINUE:
        return 417, f"nothing but {CONTINUE} is done of what Expect asks for; leave it out"
    if _are_two(values.get(b"authorization", ""), values.get(b"x-api-key")):
        return (
            400,
            "a request has one key, this one has another in X-Api-Key; leave one of them out",
        )
    if values.get(b"transfer-encoding", "chunked").lower() != "chunked":
        return 400, "a body comes as it is or chunked; leave other values of Transfer-Encoding out"
    coding = values.get(b"content-encoding", "").lower()
    if coding not in AS_IT_IS and not scope["path"].startswith(UNPACKS):
        return 415, "a body is taken as it is; send it without Content-Encoding"
    return None


def _is_host_of(target: bytes, host: str) -> bool:
    """Whether an address that stands in the first line, if one does, has the host of ``Host``."""
    absolute = ABSOLUTE.match(target)
    if absolute is None:
        return True
    port = DEFAULT_PORTS[absolute[1].decode().lower()]
    named = absolute[2].decode("latin-1").lower()
    return named.removesuffix(port) == host.lower().removesuffix(port)


def _are_two(authorization: str, key: str | None) -> bool:
    """Whether two keys were sent: a password is the proxy's, and none of ours."""
    kind, _, token = authorization.partition(" ")
    return key is not None and kind.lower() == "bearer" and token.strip() != key
