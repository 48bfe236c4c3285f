"""Traces for OpenTelemetry, sent by OTLP over HTTP to ``OTEL_EXPORTER_OTLP_ENDPOINT``.

Of what a client sent only its request id becomes an attribute, which stands in the log as well; no
path, no file name, no message of an error: they may name people.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter, time_ns

from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NoOpTracerProvider,
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    get_current_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import Scope

from seg.version import VERSION
from service.observability.patch_times import Interval, Occupancy

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
SERVICE_NAME = "segmenter"
MOST_RUNS = 64
"""Runs of an image that get spans of their own; a volume has thousands."""

TRACEPARENT = "traceparent"
"""W3C's header of a trace that a request belongs to."""

_PROPAGATOR = TraceContextTextMapPropagator()


class _Tracing:
    """The tracer of this process; one that does nothing until tracing is switched on."""

    provider: TracerProvider | None = None
    tracer: Tracer = NoOpTracerProvider().get_tracer(SERVICE_NAME)


def start_tracing(environment: Mapping[str, str] = os.environ) -> None:
    """Send spans where the environment says; without it do nothing."""
    if not any(environment.get(name) for name in ENDPOINTS):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    name = environment.get("OTEL_SERVICE_NAME") or SERVICE_NAME
    resource = Resource.create({"service.name": name, "service.version": VERSION})
    _Tracing.provider = TracerProvider(resource=resource)
    _Tracing.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _Tracing.tracer = _Tracing.provider.get_tracer("service")


def stop_tracing() -> None:
    """Send what is not sent yet."""
    if _Tracing.provider is not None:
        _Tracing.provider.shutdown()
        _Tracing.provider = None
        _Tracing.tracer = NoOpTracerProvider().get_tracer(SERVICE_NAME)


@contextmanager
def request_span(scope: Scope, route: str, request_id: str) -> Iterator[Span]:
    """The span of a request, within the client's trace where it sent ``traceparent``."""
    headers = Headers(scope=scope)
    if _Tracing.provider is None and TRACEPARENT not in headers:
        yield INVALID_SPAN
        return
    attributes = {
        "http.request.method": scope["method"],
        "http.route": route,
        "seg.request_id": request_id,
    }
    with _Tracing.tracer.start_as_current_span(
        f"{scope['method']} {route}",
        context=_PROPAGATOR.extract(headers, getter=_HEADERS),
        kind=SpanKind.SERVER,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        yield span


def trace_id_of(span: Span) -> str | None:
    """For the log; None where nobody traces."""
    context = span.get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None


def current_traceparent() -> str | None:
    """The current span, as W3C's header names it; None where nobody traces."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(TRACEPARENT)


@contextmanager
def span(name: str, linked_to: str | None = None) -> Iterator[Span]:
    """A part of what the current span does; an error is told by its type alone.

    ``linked_to`` is a ``traceparent``: of a request that ended before this began.
    """
    if _Tracing.provider is None:
        yield INVALID_SPAN
        return
    links = []
    if linked_to:
        context = _PROPAGATOR.extract({TRACEPARENT: linked_to})
        links = [Link(get_current_span(context).get_span_context())]
    with _Tracing.tracer.start_as_current_span(
        name, links=links, record_exception=False, set_status_on_exception=False
    ) as part:
        try:
            yield part
        except BaseException as error:
            part.set_status(StatusCode.ERROR, type(error).__name__)
            raise


def past_span(name: str, interval: Interval) -> None:
    """A part of the current span that is over; begin and end by ``perf_counter``."""
    if _Tracing.provider is None:
        return
    offset = time_ns() - perf_counter() * 1e9
    begin, end = (int(offset + seconds * 1e9) for seconds in interval)
    _Tracing.tracer.start_span(name, start_time=begin).end(end_time=end)


def patch_spans(occupancy: Occupancy, end: float) -> None:
    """What the patches of an image did: spans ``queue``, ``network``, and ``stitch`` to the end."""
    if _Tracing.provider is None or not occupancy.ran:
        return
    for name, intervals in (("queue", occupancy.waited), ("network", occupancy.ran)):
        for interval in list(dict.fromkeys(intervals))[:MOST_RUNS]:
            past_span(name, interval)
    past_span("stitch", (max(ended for _, ended in occupancy.ran), end))


class _HeaderGetter(Getter[Headers]):
    def get(self, carrier: Headers, key: str) -> list[str] | None:
        return carrier.getlist(key) or None

    def keys(self, carrier: Headers) -> Sequence[str]:  # type: ignore[override]
        return list(carrier.keys())


_HEADERS = _HeaderGetter()
