"""The model that a process serves: loaded and proven in the background, then shared by all."""

import gc
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import BinaryIO

import numpy as np
from jaxtyping import Float

from seg.errors import SegError
from seg.images import Limits, MaskFormat, encode_mask, read_channels
from seg.inference import Predictor, Quality, load_backend, verify_golden
from seg.model_package import ModelPackage
from service.batching import BatchingPolicy, BatchScheduler, SharedBackend, batch_sizes
from service.formats import formats_for
from service.logs import LOGGER, where_it_failed
from service.metrics import Metrics
from service.quality import with_quality
from service.settings import Settings


class NotReadyError(Exception):
    """The model does not serve yet, or never will; the message says which and why."""


@dataclass(frozen=True)
class Answer:
    """A mask as a file, and what the model knows of it."""

    body: bytes
    quality: Quality


@dataclass(frozen=True, eq=False, kw_only=True)
class ReadyModel:
    """A model whose golden samples agree on this machine."""

    package: ModelPackage
    scheduler: BatchScheduler
    formats: dict[str, MaskFormat]
    limits: Limits
    golden_error: float
    """Largest absolute error of probabilities on the golden samples."""
    metrics: Metrics

    def backend(self) -> SharedBackend:
        """A backend for one request."""
        return SharedBackend(self.scheduler)

    @property
    def patch_shape(self) -> tuple[int, ...]:
        """Channels and spatial size of a patch."""
        return (len(self.package.card.input.channels), *self.scheduler.backend.patch)

    def segment(
        self, files: Sequence[BinaryIO], mask_format: MaskFormat, backend: SharedBackend
    ) -> Answer:
        """The mask of the image in ``files``, one a channel, as a file of that format.

        Raises:
            ImageError: the files are no image, or none that fits the model.
            RequestCancelledError: the backend was cancelled.
        """
        backend.raise_if_cancelled()
        with self.metrics.stage("decode"):
            image = read_channels(
                [file.read() for file in files],
                dims=self.package.card.input.dims,
                limits=self.limits,
            )
        backend.raise_if_cancelled()
        with self.metrics.stage("predict"):
            found = Predictor(self.package, backend).segment(image)
        backend.raise_if_cancelled()
        with self.metrics.stage("encode"):
            body = encode_mask(found.mask, mask_format.name, self.package.card.classes, image)
        if mask_format.name == "json":
            body = with_quality(body, found.quality)
        return Answer(body, found.quality)


class ServedModel:
    """Starting, then ready or failed."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self._ready: ReadyModel | None = None
        self._reason = "the model is being loaded"
        self._loading = threading.Thread(target=self._load, name="load-model", daemon=True)

    def start(self) -> None:
        """Load in the background, so that the service answers while it waits."""
        self._loading.start()

    def wait(self) -> None:
        """Return when the model is ready or has failed."""
        self._loading.join()

    def close(self) -> None:
        """Finish what runs and take no more."""
        self.wait()
        if self._ready:
            self._ready.scheduler.close()

    @property
    def is_ready(self) -> bool:
        """Whether the golden samples agree."""
        return self._ready is not None

    def ready(self) -> ReadyModel:
        """The model.

        Raises:
            NotReadyError: it is loading, or it failed.
        """
        if self._ready is None:
            raise NotReadyError(self._reason)
        return self._ready

    def infer(self, patches: Float[np.ndarray, "b c *patch"]) -> Float[np.ndarray, "b k *patch"]:
        """Logits of patches that are prepared already."""
        return self.ready().backend().run(np.ascontiguousarray(patches, np.float32))

    def _load(self) -> None:
        start = perf_counter()
        try:
            self._ready = model = _load(self.settings, self.metrics)
        except SegError as error:
            self._reason = str(error)
            LOGGER.error("not ready", extra={"fields": {"reason": self._reason}})
            return
        except Exception as error:
            self._reason = "the model could not be loaded; the log says where"
            LOGGER.error("not ready", extra={"fields": where_it_failed(error)})
            return
        # What is there now stays: the collector need not look through it again and again.
        gc.collect()
        gc.freeze()
        fields = {
            "model": model.package.card.name,
            "version": model.package.card.version,
            "provider": model.scheduler.backend.provider,
            "runners": model.scheduler.policy.runners,
            "batch_size": model.scheduler.policy.batch_size,
            "golden_error": model.golden_error,
            "seconds": round(perf_counter() - start, 2),
        }
        LOGGER.info("ready", extra={"fields": fields})


def _load(settings: Settings, metrics: Metrics) -> ReadyModel:
    package = ModelPackage.load(settings.package)
    card = package.card
    backend = load_backend(
        package,
        settings.variant,
        settings.provider,
        settings.batch_size,
        settings.network_threads,
    )
    policy = BatchingPolicy.of(backend, settings.batching, settings.batch_size)
    golden_error = verify_golden(package, backend, settings.variant)
    for size in batch_sizes(policy):
        backend.run(np.zeros((size, len(card.input.channels), *backend.patch), np.float32))
    return ReadyModel(
        package=package,
        scheduler=BatchScheduler(backend, policy, on_batch=metrics.batch),
        formats=formats_for(card.input.dims),
        limits=_limits(settings),
        golden_error=golden_error,
        metrics=metrics,
    )


def _limits(settings: Settings) -> Limits:
    chosen = {"max_pixels": settings.max_pixels, "max_voxels": settings.max_voxels}
    return Limits(**{name: value for name, value in chosen.items() if value is not None})
