"""The outermost layer: request ids, limits of bodies, metrics and the access log."""

import asyncio
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

from opentelemetry.trace import StatusCode
from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.hosting.bounded_http import CLIENT_LEFT
from service.hosting.stand_in import ANSWER_BEGINS
from service.middleware.access import GRPC
from service.middleware.ambiguity import ambiguity
from service.middleware.caller import caller_of
from service.observability.audit import NAMED, AuditLog
from service.observability.failure_kinds import fault_of
from service.observability.logs import LOGGER, where_it_failed
from service.observability.metrics import Metrics
from service.observability.tracing import request_span, trace_id_of
from service.problems.response import problem_response
from service.requests.numbers import whole_number

REQUEST_ID = "X-Request-ID"
VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
UNKNOWN_ROUTE = "unknown"
QUIET_ROUTES = frozenset(
    {"/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"}
    | {f"{GRPC}/Server{each}" for each in ("Live", "Ready")}
)
"""Asked every few seconds by machines; their successes are not logged."""
CLIENT_CLOSED_REQUEST = 499
PIECE_BYTES = 64 * 1024
"""Of an answer that are handed over before the client has read the piece before."""
PAGE = "/page/"
MODEL_HEADER = "X-Segmentation-Model"
"""``name:version`` of the model that answered, percent-encoded."""
POLICY_VIOLATION = 1008
"""Of a websocket that is closed. Source: RFC 6455, 7.4.1."""
NO_WEBSOCKETS = "there are no websockets here; GET /jobs/ID/events sends the progress of a job"


class BodyCutError(Exception):
    """The rest of a body is not read: it is too long, or takes too long."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What a request's body may take, and the variable that says so."""

    most: float
    variable: str


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """Of the bodies of a route."""

    bytes: Limit
    seconds: Limit
    """From the end of the head to the end of the body."""


class Edge:
    """Wraps an application.

    Args:
        app: answers the requests.
        routes: whose templates logs and metrics may name.
        limits: of the bodies that routes take, by template.
        usual_limit: of all other routes.
        metrics: where requests are counted.
        audit: where it is written down who asked what; None writes nothing.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        routes: Sequence[Route],
        limits: Mapping[str, BodyLimit],
        usual_limit: BodyLimit,
        metrics: Metrics,
        audit: AuditLog | None = None,
    ) -> None:
        self._app = app
        self._routes = tuple(routes)
        self._limits = limits
        self._usual_limit = usual_limit
        self._metrics = metrics
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; other scopes pass through."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route = self._template(scope)
        limit = self._limits.get(route, self._usual_limit)
        exchange = _Exchange(scope, receive, send, limit)
        if _has_left(scope):
            pass  # counted and logged like all that leave
        elif route in QUIET_ROUTES:
            await exchange.run(self._app)
        else:
            with request_span(scope, route, exchange.request_id) as span:
                await exchange.run(self._app)
                exchange.trace_id = trace_id_of(span)
                span.set_attribute("http.response.status_code", exchange.status)
                if exchange.status >= 500:
                    span.set_status(StatusCode.ERROR)
        self._metrics.request(scope["method"], route, exchange.status, exchange.seconds)
        if exchange.status >= 400:
            self._metrics.error(route, fault_of(scope, exchange.status))
        if route not in QUIET_ROUTES or exchange.status >= 400:
            LOGGER.info("request", extra={"fields": {"route": route, **exchange.log_fields()}})
        if self._audit and route not in QUIET_ROUTES and not route.startswith(PAGE):
            self._audit.write("request", {"route": route, **self._who_and_what(scope, exchange)})

    def _who_and_what(self, scope: Scope, exchange: "_Exchange") -> dict[str, object]:
        caller = caller_of(scope)
        client = scope.get("client")
        matches = (r.matches(scope) for r in self._routes)
        told = next((child for match, child in matches if match is not Match.NONE), {})
        parts = told.get("path_params", {})
        return {
            **exchange.log_fields(),
            "who": caller and caller.name,
            "address": client and client[0],
            "model": exchange.model,
            **{name: value for name, value in parts.items() if name in NAMED},
        }

    def _template(self, scope: Scope) -> str:
        matching = (r.path for r in self._routes if r.matches(scope)[0] is not Match.NONE)
        return next(matching, UNKNOWN_ROUTE)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: BodyLimit) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._limit = limit
        self._start = perf_counter()
        self._bytes_in = 0
        self._bytes_out = 0
        self._complete = False
        self._cut: tuple[int, str] | None = None
        """Status and sentence of the answer to a body that is not read to its end."""
        self.status = CLIENT_CLOSED_REQUEST
        self.request_id = _request_id(scope)
        self.trace_id: str | None = None
        self.model: str | None = None

    @property
    def seconds(self) -> float:
        return perf_counter() - self._start

    def log_fields(self) -> dict[str, object]:
        caller = caller_of(self._scope)
        known = {"trace_id": self.trace_id, "key": caller and caller.credential}
        return {
            "request_id": self.request_id,
            **{name: value for name, value in known.items() if value},
            "method": self._scope["method"],
            "status": self.status,
            "milliseconds": round(1000 * self.seconds, 1),
            "bytes_in": self._bytes_in,
            "bytes_out": self._bytes_out,
        }

    async def run(self, app: ASGIApp) -> None:
        if _declared_length(self._scope) > self._limit.bytes.most:
            await self._refuse(self._too_large())
            return
        if Headers(scope=self._scope).get("upgrade", "").lower() == "websocket":
            await self._answer(400, NO_WEBSOCKETS, {"Connection": "close"})
            return
        if refusal := ambiguity(self._scope):
            await self._answer(*refusal, {"Connection": "close"})
            return
        try:
            await app(self._scope, self._counted_receive, self._labelled_send)
        except BodyCutError:
            pass
        except Exception as error:
            fields = {"request_id": self.request_id, **where_it_failed(error)}
            LOGGER.error("error", extra={"fields": fields})
            if self.status == CLIENT_CLOSED_REQUEST:
                await self._answer(500, "the service failed; its log says more")
        if self._cut:
            await self._refuse(self._cut)

    async def _refuse(self, cut: tuple[int, str]) -> None:
        self._cut = None
        # without the header the server would read the body to its end
        await self._answer(*cut, {"Connection": "close"})

    def _too_large(self) -> tuple[int, str]:
        limit = self._limit.bytes
        megabytes = f"{limit.most / 1e6:g} MB"
        return 413, f"a request may have {megabytes}, this one has more; raise {limit.variable}"

    def _too_slow(self) -> tuple[int, str]:
        limit = self._limit.seconds
        return 408, f"the body took longer than {limit.most:g} s to arrive; raise {limit.variable}"

    async def _answer(
        self, status: int, detail: str, headers: dict[str, str] | None = None
    ) -> None:
        response = problem_response(status, detail, headers)
        await response(self._scope, self._receive, self._labelled_send)

    async def _counted_receive(self) -> Message:
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout(self._limit.seconds.most - self.seconds):
                message = await self._receive()
        except TimeoutError:
            self._cut = self._too_slow()
            raise BodyCutError from None
        self._complete = not message.get("more_body", False)
        self._bytes_in += len(message.get("body", b""))
        if self._bytes_in > self._limit.bytes.most:
            self._cut = self._too_large()
            raise BodyCutError
        return message

    async def _labelled_send(self, message: Message) -> None:
        if self._cut:  # an inner layer took the cut for an error of its own
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if begins := self._scope.get("state", {}).get(ANSWER_BEGINS):
                begins()
            headers = MutableHeaders(scope=message)
            self.model = headers.get(MODEL_HEADER)
            headers[REQUEST_ID] = self.request_id
            headers["X-Content-Type-Options"] = "nosniff"
            headers.setdefault("Cache-Control", "no-store")
        body = message.get("body", b"")
        self._bytes_out += len(body)
        # In pieces: what a client does not read is kept once here, and not in each connection.
        if len(body) > PIECE_BYTES:
            whole = memoryview(body)
            last = (len(whole) - 1) // PIECE_BYTES * PIECE_BYTES
            for start in range(0, last, PIECE_BYTES):
                piece = whole[start : start + PIECE_BYTES]
                await self._send({"type": message["type"], "body": piece, "more_body": True})
                await asyncio.sleep(0)  # as many may be sent something at once
                if _has_left(self._scope):
                    return
            message = {**message, "body": whole[last:]}
        await self._send(message)


def _has_left(scope: Scope) -> bool:
    """Whether a request's client is known to have gone."""
    tells = scope.get("state", {}).get(CLIENT_LEFT)
    return bool(tells and tells())


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if VALID_ID.fullmatch(given) else uuid.uuid4().hex


def _declared_length(scope: Scope) -> int:
    return whole_number(Headers(scope=scope).get("content-length", "0")) or 0
