"""A model that serves: loaded, and proven on this machine."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from urllib.parse import quote

import numpy as np
from jaxtyping import Float

from seg.errors import BackendError
from seg.images import Limits
from seg.inference import Backend, Output, load_backend, verify_golden
from seg.inference.backends.golden import agreement, verify_batch
from seg.inference.backends.memory import shrink
from seg.inference.backends.onnx import takes_labels
from seg.inference.backends.ways import tolerance_of, way_of
from seg.model_package import GoldenSamples, ModelPackage
from service.batching.batches import BatchScheduler, batch_sizes
from service.batching.measured_policy import TimedBatches, measured_policy, with_spare_run
from service.batching.one_by_one import InPlaceScheduler
from service.batching.request_backend import SharedBackend
from service.batching.scheduler import Scheduler
from service.models.health import LONGEST_ANSWER_S, DeviceHealth, WatchedBackend
from service.models.variants import VariantChooser, load_rungs
from service.observability.logs import LOGGER
from service.observability.metrics import Metrics, ModelMetrics
from service.requests.formats import formats_for
from service.settings import Settings


@dataclass(frozen=True, eq=False, kw_only=True)
class ReadyModel:
    """A model whose golden samples agree on this machine."""

    package: ModelPackage
    variant: str
    scheduler: Scheduler
    formats: Mapping[str, Output]
    limits: Limits
    golden_error: float
    """Largest absolute error of probabilities on the golden samples."""
    metrics: ModelMetrics
    chooser: VariantChooser
    batch_times: TimedBatches
    """Why runs are as large as they are."""
    health: DeviceHealth
    fallback: str | None
    """Why the provider that comes first does not run it; None where it does."""

    def backend(self, *, background: bool = False) -> SharedBackend:
        """A backend for one request, or for a job, which leaves requests the precedence."""
        return SharedBackend(self.scheduler, background=background)

    @property
    def label(self) -> str:
        """``name:version``, percent-encoded for a header."""
        return quote(f"{self.package.card.name}:{self.package.card.version}", safe=":")

    def infer(
        self, patches: Float[np.ndarray, "b c *patch"], backend: SharedBackend
    ) -> Float[np.ndarray, "b k *patch"]:
        """Logits of patches that are prepared already."""
        patches = np.ascontiguousarray(patches, np.float32)
        parts = [
            patches[start : start + backend.batch_size]
            for start in range(0, len(patches), backend.batch_size)
        ]
        if len(parts) == 1:
            return backend.run(patches)
        with ThreadPoolExecutor(backend.callers, thread_name_prefix="network") as pool:
            return np.concatenate(list(pool.map(backend.run, parts)))

    def give_back_memory(self) -> None:
        """What the network's runs left for the next one; a device that fails is told by health."""
        for rung in self.chooser.rungs:
            with suppress(BackendError):
                shrink(rung.backend)

    def close(self) -> None:
        """Finish what runs and take no more."""
        self.health.close()
        self.scheduler.close()


def load_model(folder: Path, settings: Settings, metrics: Metrics) -> ReadyModel:
    """Load a package and prove its golden samples, in each batch size once.

    Raises:
        PackageError: the package is incomplete or altered.
        BackendError: it cannot run here, or disagrees with its golden samples.
    """
    start = perf_counter()
    package = ModelPackage.load(folder)
    card = package.card
    fallbacks: list[str] = []
    backend = _loaded(package, settings, fallbacks.append)
    golden_error = verify_golden(package, backend, settings.variant)
    policy, times = measured_policy(package, backend, settings)
    devices = policy.runners
    spared = with_spare_run(backend, policy, times, settings)
    if spared is not settings:
        settings, backend = spared, _loaded(package, spared)
        policy = replace(policy, runners=backend.callers)
    health = DeviceHealth(
        partial(_prove, package, backend, settings.variant),
        longest_run_s=max(settings.timeout_s, LONGEST_ANSWER_S),
    )
    loaded = load_rungs(package, backend, settings)
    for size in batch_sizes(policy):
        for rung in loaded:
            variant = settings.variant if rung.backend is backend else rung.variant
            verify_batch(package, rung.backend, size, variant)
            if takes_labels(rung.backend):
                shape = (size, len(card.input.channels), *backend.patch)
                inside = np.ones((size, 1, *backend.patch), np.uint8)
                rung.backend.decide(np.zeros(shape, np.float32), inside, 1.0)
    rungs = [replace(rung, backend=WatchedBackend(rung.backend, health)) for rung in loaded]
    fields = {
        "model": card.name,
        "version": card.version,
        "provider": backend.provider,
        "precision": way_of(backend).precision,
        "runners": policy.runners,
        "batch_size": policy.batch_size,
        "batch_wait_ms": round(1000 * policy.wait_s, 3),
        "patches_a_second": {n: round(rate, 1) for n, rate in times.patches_a_second.items()},
        "golden_error": golden_error,
        "fallback": next(iter(fallbacks), None),
        "seconds": round(perf_counter() - start, 2),
    }
    LOGGER.info("loaded", extra={"fields": fields})
    counted = metrics.of_model(card.name, card.version)
    scheduler = BatchScheduler if policy.batch_size > 1 else InPlaceScheduler
    return ReadyModel(
        package=package,
        variant=rungs[0].variant,
        scheduler=scheduler(rungs[0].backend, policy, counted.batch),
        formats=formats_for(card.input.dims),
        limits=limits_of(settings),
        golden_error=golden_error,
        metrics=counted,
        batch_times=times,
        health=health,
        fallback=next(iter(fallbacks), None),
        chooser=VariantChooser(rungs, settings.max_wait_s, runners=devices),
    )


def _prove(package: ModelPackage, backend: Backend, variant: str | None) -> None:
    """One golden sample.

    Raises:
        BackendError: its answer is wrong, or there is none.
    """
    golden, card = package.golden(way_of(backend).variant or variant), package.card
    first = GoldenSamples(golden.patches[:1], golden.logits[:1])
    agreement(backend, first, card.task, tolerance_of(card, variant, way_of(backend)))


def _loaded(
    package: ModelPackage,
    settings: Settings,
    on_fallback: Callable[[str], None] = lambda reasons: None,
) -> Backend:
    return load_backend(
        package,
        settings.variant,
        settings.provider,
        settings.batch_size,
        settings.network_threads,
        on_fallback,
        settings.precision,
    )


def limits_of(settings: Settings) -> Limits:
    """Sizes of images beyond which none is decoded."""
    chosen = {"max_pixels": settings.max_pixels, "max_voxels": settings.max_voxels}
    return Limits(**{name: value for name, value in chosen.items() if value is not None})
