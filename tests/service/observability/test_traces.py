"""Traces as a collector gets them: a real one of OTLP over HTTP, and a service that really runs."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from service.observability.patch_times import Occupancy, covered
from tests.service.conftest import log_lines, png, served, until, until_status
from tests.service.jobs.test_jobs import finished

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
IMAGE = png(np.full((90, 70), 100))
NAME = "Miller_Anna_19700101.png"


@dataclass
class Collector:
    port: int
    spans: list = field(default_factory=list)
    services: set = field(default_factory=set)

    def of_trace(self, trace: str) -> dict[str, list]:
        found: dict[str, list] = {}
        for span in list(self.spans):
            if span.trace_id.hex() == trace:
                found.setdefault(span.name, []).append(span)
        return found


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                names = {a.key: a.value.string_value for a in resource.resource.attributes}
                collector.services.add(names["service.name"])
                for scope in resource.scope_spans:
                    collector.spans += scope.spans
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        collector = Collector(server.server_port)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield collector
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def traced(collector, tiny_package, tmp_path_factory):
    """A client of a service that sends its traces, and the service's log."""
    log = tmp_path_factory.mktemp("traced") / "log.txt"
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    with served(tiny_package, log, **settings) as client:
        until_status(client, "/readyz", 200)
        yield client, log


def test_a_request_is_traced_through_its_stages_in_the_client_s_trace(collector, traced):
    client, log = traced
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-ID": "traced-1"}
    files = {"image": (NAME, IMAGE)}
    assert client.post("/segment", files=files, headers=headers).status_code == 200
    until(lambda: "POST /segment" in collector.of_trace(TRACE))
    spans = collector.of_trace(TRACE)
    (request,) = spans["POST /segment"]
    assert request.parent_span_id.hex() == PARENT
    (predict,) = spans["predict"]
    for name in ("wait", "decode", "predict", "encode"):
        (span,) = spans[name]
        assert span.parent_span_id == request.span_id
    for name in ("queue", "network", "stitch"):
        assert {span.parent_span_id for span in spans[name]} == {predict.span_id}
    assert len(spans["network"]) > 1
    for span in [each for found in spans.values() for each in found]:
        assert request.start_time_unix_nano <= span.start_time_unix_nano
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= request.end_time_unix_nano
    until(lambda: log_lines(log, "traced-1"))
    (line,) = log_lines(log, "traced-1")
    assert line["trace_id"] == TRACE
    assert collector.services == {"segmenter"}


def test_a_job_is_traced_by_itself_and_linked_to_its_request(collector, traced):
    trace = "1bf7651916cd43dd8448eb211c80319d"
    headers = {"traceparent": f"00-{trace}-{PARENT}-01"}
    client, _ = traced
    job = client.post("/jobs", content=IMAGE, headers=headers).json()
    assert finished(client, job)["state"] == "done"
    until(lambda: [span for span in collector.spans if span.name == "job"])
    (worked,) = [span for span in collector.spans if span.name == "job"]
    (request,) = collector.of_trace(trace)["POST /jobs"]
    (link,) = worked.links
    assert (link.trace_id, link.span_id) == (request.trace_id, request.span_id)
    assert worked.trace_id != request.trace_id
    assert {"decode", "predict", "encode"} <= set(collector.of_trace(worked.trace_id.hex()))


def test_a_trace_names_no_file_and_quotes_no_error(collector, traced):
    client, log = traced
    secret = "PatientName"
    sent = client.post(f"/segment?format={secret}", files={"image": (NAME, IMAGE)})
    assert sent.status_code == 422
    broken = client.post("/segment", files={"image": (NAME, IMAGE[:60])})
    assert broken.status_code in (415, 422)
    client.get(f"/{secret}")
    traces = []
    for answer in (sent, broken):
        until(lambda answer=answer: log_lines(log, answer.headers["X-Request-ID"]))
        (line,) = log_lines(log, answer.headers["X-Request-ID"])
        traces.append(line["trace_id"])
    until(lambda: all(collector.of_trace(trace) for trace in traces))
    told = json.dumps([str(span) for span in collector.spans])
    assert "POST /segment" in told
    for word in (NAME, "Miller", secret):
        assert word not in told


def test_without_a_collector_nothing_is_traced(client, server_log):
    assert client.post("/segment", content=IMAGE, headers={"X-Request-ID": "plain"}).is_success
    until(lambda: log_lines(server_log, "plain"))
    (line,) = log_lines(server_log, "plain")
    assert "trace_id" not in line


INTERVALS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(sorted).map(tuple))


@given(INTERVALS)
def test_time_that_intervals_share_counts_once(intervals):
    seconds = {second for begin, end in intervals for second in range(begin, end)}
    assert covered(intervals) == len(seconds)


@given(st.lists(st.tuples(*[st.integers(0, 50)] * 3).map(sorted)))
def test_the_shares_of_an_image_add_up_to_its_time(patches):
    occupancy = Occupancy()
    for patch in patches:
        occupancy.add(*patch)
    shares = occupancy.shares(0, 60)
    assert shares.queue + shares.network + shares.stitch == 60
    assert min(shares.queue, shares.network, shares.stitch) >= 0
