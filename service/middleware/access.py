"""Who may ask, and how much at a time: keys, limits of each client, and slow or many uploads.

Stands inside of the edge, which counts and logs what is refused here, and outside of the routes:
nothing of a body is read before a request may pass.
"""

import functools
import re
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from seg.errors import ConfigError
from service.hosting.listening import is_loopback, listens_beyond_loopback
from service.middleware.caller import CALLER, Caller
from service.middleware.identity_tokens import (
    RETRY_S,
    IdentityTokens,
    InvalidTokenError,
    ProviderUnavailableError,
)
from service.middleware.key_file import KeyFile
from service.middleware.key_file import Scope as KeyScope
from service.middleware.upload_guard import _Upload
from service.observability.logs import LOGGER
from service.problems.response import Problem, problem_response
from service.requests.proxies import came_through_a_proxy
from service.settings import Settings
from service.sharing.clients import ClientCounts, ClientLimitError
from service.sharing.memory import SharedMemory

GRPC = "/inference.GRPCInferenceService"
"""Where KServe's protocol is asked over gRPC."""


OPEN_PATHS = frozenset(
    {"/livez", "/readyz", "/", "/studio", "/openapi.json", "/v2/health/live", "/v2/health/ready"}
    | {"/auth/", "/auth/token"}
    | {f"{GRPC}/ServerLive", f"{GRPC}/ServerReady"}
)


OPEN_FOLDERS = ("/page/",)
"""Probes, the description of the service and its page: the same for all, and nobody's data; and
where a front end is told whether keys are asked for, and brings one."""


SCOPE_OF_FOLDER: tuple[tuple[str, KeyScope], ...] = (
    *(("/jobs", "jobs"), ("/dicomweb/jobs", "jobs"), ("/dicom-web", "jobs")),
    ("/metrics", "metrics"),
    ("/studio", "annotate"),
)
"""All other paths need ``segment``."""


FROM_ARCHIVES = "/dicom-web/"
"""Where archives send to."""


LABEL_STUDIO = "/label-studio"
"""Where Label Studio asks."""


DRAWN = "/webhook"
"""End of the paths there by which it sends what people drew."""


BY_PASSWORD = (FROM_ARCHIVES, f"{LABEL_STUDIO}/")
"""Whose callers often know no way to bring a key but as a password."""


LASTING = "/events"
"""End of paths whose answers last as long as a job."""


WORKING = ("/studio/", "/datastore/", "/session/", "/info/")
"""Folders whose answers to GET cost work, as those to POST do."""


CHANGES = frozenset({"PUT", "PATCH", "DELETE", "POST"})
"""Methods below ``/models`` that decide what everybody is answered: they need ``admin``."""


DATASTORE = "/datastore/"
"""Images and masks of a dataset that all share: whoever may ask adds to it, and none but ``admin``
takes away."""


TRAINING = ("/train/", "/studio/train")
"""Where a model is trained."""


PROMOTION = re.compile(r"/studio/proposal|/models/[^/]+/rollback")
"""Where a model that was trained is let answer all, or the one before it again."""


STUDIO_IMAGES = "/studio/images/"
"""Images of the studio, with all that was drawn on them: none but ``admin`` takes them away."""


CHALLENGE = {"WWW-Authenticate": "Bearer"}
INVALID = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


HOW = "send Authorization: Bearer KEY; python -m service.keys add NAME makes one"


class KeyRule:
    """Who is asked for a key, and whether one is known."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys = KeyFile(settings.keys_file)

    def asks(self, scope: Scope) -> bool:
        """Whether a request needs a key, wherever it goes to."""
        if self._settings.keys == "off":
            return False
        if self._asks_everybody:
            return True
        # A proxy on this machine may pass on what came from another one, and a page of the web may
        # point a name of its own at this machine (DNS rebinding).
        asked = _name_of(Headers(scope=scope).get("host", ""))
        return not (
            all(is_loopback(_host(scope, side)) for side in ("server", "client"))
            and (asked in ("", "localhost") or is_loopback(asked))
            and not came_through_a_proxy(scope)
        )

    @functools.cached_property
    def _asks_everybody(self) -> bool:
        """Asked when a request has come: then the process listens."""
        return (
            self._settings.keys == "required"
            or self._settings.proxy is not None
            or listens_beyond_loopback()
        )

    def holder(self, token: str) -> Caller:
        """Who holds a key.

        Raises:
            Problem: 401, it is not known or has expired; 503, keys cannot be read.
        """
        try:
            key = self._keys.key_of(token)
        except ConfigError as error:
            LOGGER.error("keys", extra={"fields": {"reason": str(error)}})
            raise Problem(503, "the service cannot read its keys; its log says why") from error
        if key is None:
            raise Problem(401, f"this key is not known here: {HOW}", CHALLENGE)
        if key.has_expired:
            raise Problem(401, "this key has expired; ask whoever gave it for another", INVALID)
        return Caller.of_key(key)


class Gate:
    """Wraps an application."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._rule = KeyRule(settings)
        self._tokens = IdentityTokens(settings) if settings.oidc_issuer else None
        self._memory = SharedMemory.of_this_service()
        self._clients = ClientCounts(self._memory)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        try:
            caller = await self._caller(scope)
            if caller:
                scope.setdefault("state", {})[CALLER] = caller
            client = f"key {caller.owner}" if caller else f"address {_host(scope, 'client')}"
            if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
                self._take(client, caller)
                with self._in_flight(client):
                    await _Upload(self, scope, receive, send).run(self._app)
            elif scope["path"].endswith(LASTING) or scope["path"].startswith(WORKING):
                with self._in_flight(client):
                    await self._app(scope, receive, send)
            else:
                await self._app(scope, receive, send)
        except Problem as problem:
            # Without it the server would read the body to its end.
            headers = {**(problem.headers or {}), "Connection": "close"}
            response = problem_response(problem.status_code, problem.detail, headers)
            await response(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller | None:
        """Who sends a request; None where nobody is asked."""
        path: str = scope["path"]
        if path in OPEN_PATHS or path.startswith(OPEN_FOLDERS) or not self._rule.asks(scope):
            return None
        token = _token(Headers(scope=scope), path)
        if token is None:
            raise Problem(401, f"this address asks for a key: {HOW}", CHALLENGE)
        if self._tokens and IdentityTokens.is_token(token):
            caller = await _holder(self._tokens, token)
        else:
            caller = self._rule.holder(token)
        # Noted before it is judged: the audit log tells who was refused.
        scope.setdefault("state", {})[CALLER] = caller
        needed = _scope_of(path, scope["method"])
        if not caller.allows(needed):
            raise Problem(403, f"this key lacks the scope {needed}")
        return caller

    def _take(self, client: str, caller: Caller | None) -> None:
        per_minute = (caller and caller.per_minute) or self._settings.max_per_minute
        if per_minute:
            try:
                self._clients.take(client, per_minute)
            except ClientLimitError as error:
                raise _refused(f"you may ask {per_minute} times a minute", error) from None

    @contextmanager
    def _in_flight(self, client: str) -> Iterator[None]:
        most = self._settings.max_client_requests
        with ExitStack() as place:
            try:
                place.enter_context(self._clients.in_flight(client, most))
            except ClientLimitError as error:
                raise _refused(f"{most} of your requests are in flight already", error) from None
            yield

    @property
    def idle_s(self) -> float:
        """Seconds that an upload may stand still."""
        return self._settings.upload_idle_s

    def spool(self, size: int) -> None:
        """Count bytes of bodies that are held.

        Raises:
            Problem: 503, there are too many in all.
        """
        memory = self._memory
        most = self._settings.max_uploads_bytes
        with memory.locked():
            if size > 0 and memory.stays(lambda: bool(memory.uploads.sum() + size > most)):
                raise Problem(
                    503, "too much is being uploaded; try again later", {"Retry-After": "5"}
                )
            memory.uploads[memory.column] += size


def _refused(detail: str, error: ClientLimitError) -> Problem:
    return Problem(429, detail, {"Retry-After": str(error.retry_after_s)})


async def _holder(tokens: IdentityTokens, token: str) -> Caller:
    try:
        return await tokens.caller(token)
    except InvalidTokenError as error:
        raise Problem(401, f"this token is not taken: {error}", INVALID) from None
    except ProviderUnavailableError:
        headers = {"Retry-After": str(RETRY_S)}
        raise Problem(
            503, "the identity provider cannot be reached; try again later", headers
        ) from None


def _scope_of(path: str, method: str) -> KeyScope:
    if method in CHANGES and PROMOTION.fullmatch(path):
        return "promote"
    if method in CHANGES and (path == "/models" or path.startswith("/models/")):
        return "admin"
    if method == "DELETE" and path.startswith((DATASTORE, STUDIO_IMAGES)):
        return "admin"
    if method in CHANGES and path.startswith(TRAINING):
        return "train"
    if path.startswith(f"{LABEL_STUDIO}/") and path.endswith(DRAWN):
        return "annotate"
    for folder, needed in SCOPE_OF_FOLDER:
        if path == folder or path.startswith(f"{folder}/"):
            return needed
    return "segment"


def _token(headers: Headers, path: str) -> str | None:
    """The key that a request brings; from programs that know no other way, as a password."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic" and path.startswith(BY_PASSWORD):
        try:
            return b64decode(token, validate=True).decode().partition(":")[2] or None
        except ValueError:
            return None
    return token.strip() if kind.lower() == "bearer" else headers.get("x-api-key")


def _host(scope: Scope, side: str) -> str:
    address = scope.get(side)
    return str(address[0]) if address else ""


def _name_of(host: str) -> str:
    """The header ``Host`` without its port."""
    bracketed = re.match(r"\[(.*)\]", host)
    return bracketed[1] if bracketed else host.partition(":")[0].lower()
