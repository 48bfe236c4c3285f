"""What the service counts.

Labels are route templates, stages and statuses: never a path, a file name or anything else that a
client sent. Where several processes serve, they add up through files in a folder that their
supervisor made, so that it does not matter which of them is asked.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal, get_args

from service.sharing.folder import SHARED
from service.sharing.memory import is_alive

# BentoML sets this variable to a folder that the next server on the machine empties.
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
if os.environ.get(SHARED):
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.environ[SHARED]

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

__all__ = ["MEDIA_TYPE", "Collector", "GaugeMetricFamily", "Metrics", "ModelMetrics", "Stage"]
"""prometheus_client must not be imported before this module: collectors take its classes here."""

Stage = Literal["wait", "decode", "queue", "network", "stitch", "encode"]
"""``wait``: for a thread; ``queue``: patches wait for a device; ``stitch``: all around the network.
"""

MEDIA_TYPE = CONTENT_TYPE_LATEST
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
PATCHES = (1, 2, 4, 8, 16, 32, 64)
STAGES: tuple[Stage, ...] = get_args(Stage)
PUBLISH_S = 0.5
"""Seconds between two times at which a process writes its gauges for the others."""
MODEL = ("model", "version")
"""Labels; names and versions come from packages, not from clients."""


@dataclass(frozen=True)
class ModelMetrics:
    """The numbers of one version of a model."""

    _stages: Mapping[Stage, Histogram]
    _batch_patches: Histogram
    _batch_requests: Histogram
    answered_by: Callable[[str], None]
    """Count a segmentation of a variant."""

    def batch(self, patches: int, requests: int) -> None:
        """Count a run."""
        self._batch_patches.observe(patches)
        self._batch_requests.observe(requests)

    def spent(self, stage: Stage, seconds: float) -> None:
        """Count the seconds of a segmentation in a stage."""
        self._stages[stage].observe(seconds)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Time a stage."""
        start = perf_counter()
        try:
            yield
        finally:
            self.spent(stage, perf_counter() - start)


class Metrics:
    """The numbers of one running service."""

    def __init__(self) -> None:
        # They double the series and tell nothing.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        folder = os.environ.get(SHARED)
        self._shared = _SharedNumbers(Path(folder)) if folder else None
        self._requests = Counter(
            "seg_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "seg_request_seconds",
            "Seconds from the first byte in to the last byte out.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self._errors = Counter(
            "seg_errors", "Requests that failed, by why.", ("route", "kind"), registry=registry
        )
        self._stages = Histogram(
            "seg_stage_seconds",
            "Seconds of a segmentation, by stage.",
            ("stage", *MODEL),
            buckets=SECONDS,
            registry=registry,
        )
        self._batch_patches = Histogram(
            "seg_batch_patches", "Patches in a run.", MODEL, buckets=PATCHES, registry=registry
        )
        self._batch_requests = Histogram(
            "seg_batch_requests",
            "Requests that share a run.",
            MODEL,
            buckets=PATCHES,
            registry=registry,
        )
        self._variants = Counter(
            "seg_variant_answers",
            "Segmentations answered, by variant of the model.",
            ("variant", *MODEL),
            registry=registry,
        )
        self._waiting = Gauge(
            "seg_patches_waiting",
            "Patches that wait for a device.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._active = Gauge(
            "seg_requests_active",
            "Segmentations running or waiting.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._ready = Gauge(
            "seg_ready",
            "1 when the golden samples agree, else 0.",
            registry=registry,
            multiprocess_mode="livemin",
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        known = method if method in METHODS else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def error(self, route: str, kind: str, count: int = 1) -> None:
        """Count requests that failed."""
        self._errors.labels(route, kind).inc(count)

    def of_model(self, name: str, version: str) -> "ModelMetrics":
        """The numbers of one version of a model."""
        return ModelMetrics(
            {stage: self._stages.labels(stage, name, version) for stage in STAGES},
            self._batch_patches.labels(name, version),
            self._batch_requests.labels(name, version),
            lambda variant: self._variants.labels(variant, name, version).inc(),
        )

    def watch(
        self, *, waiting: Callable[[], int], active: Callable[[], int], ready: Callable[[], bool]
    ) -> None:
        """Where to read the gauges when they are asked for."""
        if self._shared is None:
            self._waiting.set_function(waiting)
            self._active.set_function(active)
            self._ready.set_function(lambda: float(ready()))
            return

        def publish() -> None:
            self._waiting.set(waiting())
            self._active.set(active())
            self._ready.set(float(ready()))

        self._shared.publish_with(publish)

    def collect_from(self, collector: Collector) -> None:
        """Ask a collector as well, whenever the numbers are asked for.

        Of several processes the one answers that is asked: what models there are is the same to
        all of them.
        """
        (self._shared.own if self._shared else self._registry).register(collector)

    def exposition(self) -> bytes:
        """All numbers in Prometheus' text format, of all processes together."""
        return self._shared.exposition() if self._shared else generate_latest(self._registry)


class _SharedNumbers:
    """What several processes wrote into a folder, added up."""

    def __init__(self, folder: Path) -> None:
        self.own = CollectorRegistry()
        """Collectors that are asked in this process."""
        self._folder = folder
        self._all = CollectorRegistry()
        MultiProcessCollector(self._all, str(folder))  # type: ignore[no-untyped-call]
        self._publish: Callable[[], None] = lambda: None

    def publish_with(self, publish: Callable[[], None]) -> None:
        """Write gauges now and again and again: whoever is asked reads them."""
        self._publish = publish

        def again() -> None:
            while not never.wait(PUBLISH_S):
                publish()

        never = threading.Event()
        threading.Thread(target=again, name="publish-gauges", daemon=True).start()

    def exposition(self) -> bytes:
        """Of all processes; counts of those that died stay, or sums would fall."""
        self._publish()
        for file in self._folder.glob("gauge_live*.db"):
            process = int(file.stem.rpartition("_")[2])
            if not is_alive(process):
                mark_process_dead(process, str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(self._all) + generate_latest(self.own)
