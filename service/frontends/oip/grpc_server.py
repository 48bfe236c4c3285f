"""gRPC's side of the front end: each call becomes a request of the application, within the process.

A message is read when the application asks for it: not before its sender's key is known, and not
for longer than an upload may take.
"""

import asyncio
import json
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import unquote

import grpc
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Scope

from seg.dicomweb.credentials import Credentials
from seg.errors import ConfigError
from service.decoding.image_decoder import decoding_bytes
from service.frontends.oip.grpc_routes import PUT_ASIDE
from service.middleware.access import GRPC
from service.settings import Settings

GET = frozenset({"ServerLive", "ServerReady", "ServerMetadata"})
"""Methods of which the message says nothing."""
METHODS = frozenset({*GET, "ModelReady", "ModelMetadata", "ModelInfer"})
SMALL = METHODS - {"ModelInfer"}
"""Those whose messages hold no tensors."""
FEWEST_MESSAGES = 4
"""That may be in memory together, however little decoding may have."""
COPIES = 4
"""Of a message, while it is read: as it came, parsed, its elements, and these in their files."""
WINDOW = 1 << 19
"""Bytes that a client may send before they are asked for."""
HANDSHAKE_S = 10.0
"""Seconds until a connection has said that it speaks HTTP/2."""
IDLE_S = 60.0
"""Seconds for which a connection may have no call."""
MOST_CONNECTIONS, SHARE = 1000, 8
"""Those that are kept, and of how many files that the process may open they may be one."""
PLACE_S = 10.0
"""Seconds that a message waits for others; an upload may stand still for longer by default."""
OURS = frozenset(
    {"host", "content-length", "content-type", "content-encoding", "transfer-encoding", "upgrade"}
    | {"connection", "expect", "te"}
)
"""Headers that say how a request comes, which a call's metadata does not decide."""
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""All others are INTERNAL."""
PASSED_ON = ("x-request-id", "retry-after")
MORE_THAN_TENSORS = 64 * 1024
"""Bytes of a message above a body's limit, so that the application says that it is too long."""


def check_listening(settings: Settings) -> None:
    """Say before anything is started that nobody can listen, or that TLS cannot be spoken.

    Raises:
        ConfigError: it is so.
    """
    _credentials(settings)
    try:
        with socket.create_server(
            (settings.grpc_host, settings.grpc_port),
            family=socket.AF_INET6 if ":" in settings.grpc_host else socket.AF_INET,
        ):
            pass
    except OSError as error:
        raise ConfigError(
            f"nobody can listen on {settings.grpc_host}:{settings.grpc_port}: {error.strerror}; "
            "SEG_GRPC_PORT names another port"
        ) from error


@asynccontextmanager
async def listening(app: ASGIApp, settings: Settings, *, shared: bool) -> AsyncIterator[None]:
    """Answer calls with an application.

    Args:
        app: is asked.
        settings: where, and within which limits.
        shared: other processes of this service listen on the same port.

    Raises:
        ConfigError: nobody can listen there.
    """
    room = decoding_bytes(settings)
    most = min(settings.max_body_bytes, room // FEWEST_MESSAGES // COPIES) + MORE_THAN_TENSORS
    places = asyncio.Semaphore(max(FEWEST_MESSAGES, room // COPIES // most))
    server = grpc.aio.server(
        handlers=[_Methods(app, settings, places)],
        maximum_concurrent_rpcs=2 * settings.max_requests + 64,
        options=[
            ("grpc.max_receive_message_length", most),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_concurrent_streams", settings.max_client_requests),
            ("grpc.max_allowed_incoming_connections", most_connections()),
            ("grpc.server_handshake_timeout_ms", int(1000 * HANDSHAKE_S)),
            ("grpc.max_connection_idle_ms", int(1000 * IDLE_S)),
            # Else a window grows to what a fast client sends, before anybody has asked for it.
            ("grpc.http2.bdp_probe", 0),
            ("grpc.http2.lookahead_bytes", WINDOW),
            ("grpc.so_reuseport", int(shared)),
        ],
    )
    host = f"[{settings.grpc_host}]" if ":" in settings.grpc_host else settings.grpc_host
    address = f"{host}:{settings.grpc_port}"
    credentials = _credentials(settings)
    try:
        if credentials:
            server.add_secure_port(address, credentials)
        else:
            server.add_insecure_port(address)
    except RuntimeError as error:
        raise ConfigError(f"nobody can listen on {address}; SEG_GRPC_PORT names another") from error
    await server.start()
    try:
        yield
    finally:
        await server.stop(grace=None)


def most_connections() -> int:
    """Beyond which connections are closed at once, so that all other doors can be opened still."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        MOST_CONNECTIONS
        if files == resource.RLIM_INFINITY
        else min(MOST_CONNECTIONS, max(1, files // SHARE))
    )


def _credentials(settings: Settings) -> grpc.ServerCredentials | None:
    if settings.grpc_tls_file is None:
        return None
    found = Credentials.read(settings.grpc_tls_file)
    if found.certificate is None:
        raise ConfigError("SEG_GRPC_TLS_FILE names no certificate, by which clients know us")
    try:
        certificate = found.certificate.read_bytes()
        key = (found.key or found.certificate).read_bytes()
        authorities = found.authorities.read_bytes() if found.authorities else None
    except OSError as error:
        raise ConfigError(
            f"the files that SEG_GRPC_TLS_FILE names cannot be read ({type(error).__name__})"
        ) from None
    return grpc.ssl_server_credentials([(key, certificate)], authorities, bool(authorities))


class _Methods(grpc.GenericRpcHandler):  # type: ignore[misc]  # gRPC ships no types
    """Those of the protocol; all others are not implemented."""

    def __init__(self, app: ASGIApp, settings: Settings, places: asyncio.Semaphore) -> None:
        self._app = app
        self._settings = settings
        self._places = places

    def service(self, details: Any) -> Any:
        service, _, method = details.method.rpartition("/")
        if service != GRPC or method not in METHODS:
            return None
        # One message as a stream of one: another handler would be called once all of it is there.
        return grpc.stream_unary_rpc_method_handler(partial(self._answer, method))

    async def _answer(self, method: str, _: Any, context: Any) -> bytes:
        # Not by the iterator: it would keep the message for as long as it is worked on.
        call = _Call(context.read, None if method in SMALL else self._places)
        scope = self._scope(method, context)
        scope["state"][PUT_ASIDE] = partial(
            asyncio.get_running_loop().call_soon_threadsafe, call.put_aside
        )
        answering = asyncio.ensure_future(self._app(scope, call.receive, call.send))
        try:
            await asyncio.shield(answering)
        except asyncio.CancelledError:
            call.left.set()
            with suppress(Exception):
                await answering
            raise
        finally:
            call.put_aside()
        if call.found_no_place:
            await context.abort(
                grpc.StatusCode.UNAVAILABLE, "other messages leave no room; try again later"
            )
        headers = Headers(raw=call.headers)
        told = tuple((name, headers[name]) for name in PASSED_ON if name in headers)
        try:
            if call.status != 200:
                code = CODES.get(call.status, grpc.StatusCode.INTERNAL)
                await context.abort(code, _sentence(call.body), told)
            await context.send_initial_metadata(told)
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # the client has left; gRPC's own error for that has no name
            raise asyncio.CancelledError from error
        return call.body

    def _scope(self, method: str, context: Any) -> Scope:
        path = f"{GRPC}/{method}"
        server = (self._settings.grpc_host, self._settings.grpc_port)
        given = [
            (name.lower().encode(), value.encode("latin-1", "replace"))
            for name, value in context.invocation_metadata() or ()
            if isinstance(value, str) and name.lower() not in OURS
        ]
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "2",
            "method": "GET" if method in GET else "POST",
            "scheme": "https" if self._settings.grpc_tls_file else "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", b"localhost"), *given],
            "client": _client(context.peer()),
            "server": server,
            "state": {},
        }


class _Call:
    """A call as the application sees it: a body that comes, an answer that is collected."""

    def __init__(self, read: Callable[[], Any], places: asyncio.Semaphore | None) -> None:
        self._read = read
        self._places = places
        self._holds_place = False
        self._has_come = False
        self.found_no_place = False
        self.left = asyncio.Event()
        self.status = 500
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""

    async def receive(self) -> Message:
        if not self._has_come:
            self._has_come = True
            if not await self._place():
                return {"type": "http.disconnect"}
            message = await self._read()
            if message is not grpc.aio.EOF:
                return {"type": "http.request", "body": message, "more_body": False}
        else:
            await self.left.wait()
        return {"type": "http.disconnect"}

    async def _place(self) -> bool:
        """Wait for one of those whose messages are in memory."""
        if self._places is None:
            return True
        try:
            async with asyncio.timeout(PLACE_S):
                self._holds_place = await self._places.acquire()
        except TimeoutError:
            self.found_no_place = True
        return self._holds_place

    def put_aside(self) -> None:
        """The message is in memory no more."""
        if self._places is not None and self._holds_place:
            self._holds_place = False
            self._places.release()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        else:
            self.body += message.get("body", b"")


def _client(peer: str) -> tuple[str, int] | None:
    """``ipv4:127.0.0.1:5000`` or ``ipv6:[::1]:5000``, percent-encoded."""
    _, _, address = unquote(peer).partition(":")
    host, _, port = address.rpartition(":")
    return (host.strip("[]"), int(port)) if port.isdecimal() else None


def _sentence(body: bytes) -> str:
    try:
        document = json.loads(body)
        return str(document.get("detail", document["title"]))
    except (ValueError, KeyError, AttributeError):
        return "the service failed; its log says more"
