"""Models in memory: loaded and proven when they are needed, never more than a set number.

A request takes a lease on a version. One that is replaced, removed or pushed out of memory ends
when its last lease does, so requests in flight finish on the model that they began with. One that
nobody asked for a while stays ready, and gives back the memory that it keeps for its next run.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from time import monotonic

from seg.errors import BackendError, PackageError, SegError
from service.errors import NotReadyError, SchedulerClosedError
from service.models.ready_model import ReadyModel, load_model
from service.models.versions import Fault, ModelVersion
from service.observability.folders import without_folders
from service.observability.logs import LOGGER, where_it_failed
from service.observability.metrics import Metrics
from service.problems.response import Problem
from service.settings import Settings

LOOKS = 4
"""For idle models, in the time after which a model is idle."""


class ModelMemory:
    """Loads, leases and unloads versions; at most ``settings.max_models`` serve at a time."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._lock = threading.Lock()
        self._loaded: set[ModelVersion] = set()
        # One at a time: two would share the cores and both take longer, and memory stays bounded.
        self._loader = ThreadPoolExecutor(1, "load-model")
        self._watcher: threading.Thread | None = None
        self._closing = threading.Event()

    def models(self) -> list[ReadyModel]:
        """The models in memory."""
        with self._lock:
            return [version.model for version in self._loaded if version.model]

    @asynccontextmanager
    async def lease(self, version: ModelVersion) -> AsyncIterator[ReadyModel]:
        """The model in memory for as long as the block runs; the event loop turns meanwhile.

        Raises:
            NotReadyError: it turned out to be broken, or was replaced just now.
            Problem: 503, as many models as may be in memory are in use.
            SchedulerClosedError: the service is shutting down.
        """
        with self._held(version):
            model = version.model
            if model is None:
                model = await asyncio.wrap_future(self._wanted(version))
            yield model

    @contextmanager
    def leased(self, version: ModelVersion) -> Iterator[ReadyModel]:
        """As `lease`, for threads."""
        with self._held(version):
            yield version.model or self._wanted(version).result()

    def prove(self, version: ModelVersion) -> None:
        """Load a version beside those that serve, and wait until it is proven or broken."""
        try:
            self._submit(version, make_room=False).result()
        except (NotReadyError, SchedulerClosedError):
            return
        self._submit_trim()

    def retire(self, version: ModelVersion) -> None:
        """Let a version go as soon as nobody uses it; it takes no new requests."""
        version.retired = True
        self._submit_trim()

    def close(self) -> None:
        """Finish what runs and take no more."""
        self._closing.set()
        self._loader.shutdown()
        for model in self.models():
            model.close()

    @contextmanager
    def _held(self, version: ModelVersion) -> Iterator[None]:
        with self._lock:
            if version.retired:
                raise NotReadyError("the model was replaced just now; ask again")
            version.leases += 1
            version.last_used = monotonic()
            version.shrunk = False
        try:
            yield
        finally:
            with self._lock:
                version.leases -= 1
                version.last_used = monotonic()
                surplus = version.retired or len(self._loaded) > self._settings.max_models
            if surplus:
                self._submit_trim()

    def _wanted(self, version: ModelVersion) -> "Future[ReadyModel]":
        return self._submit(version, make_room=True)

    def _submit(self, version: ModelVersion, *, make_room: bool) -> "Future[ReadyModel]":
        try:
            return self._loader.submit(self._load, version, make_room)
        except RuntimeError as error:  # the executor was shut down
            raise SchedulerClosedError("the service is shutting down") from error

    def _submit_trim(self) -> None:
        try:
            self._loader.submit(self._trim)
        except RuntimeError:  # then all ends anyway
            return

    def _watch(self) -> None:
        while not self._closing.wait(self._settings.idle_s / LOOKS):
            try:
                self._loader.submit(self._shrink_idle)
            except RuntimeError:  # the executor was shut down
                return

    # What follows runs in the loader's thread.

    def _shrink_idle(self) -> None:
        since = monotonic() - self._settings.idle_s
        with self._lock:
            idle = [
                version
                for version in self._loaded
                if not version.leases and not version.shrunk and version.last_used <= since
            ]
            for version in idle:
                version.shrunk = True
        for version in idle:
            if model := version.model:  # nothing but this thread unloads one
                model.give_back_memory()

    def _load(self, version: ModelVersion, make_room: bool) -> ReadyModel:
        if version.model:
            return version.model
        if version.state == "broken" or version.retired:
            raise NotReadyError(version.reason or "the model was replaced just now; ask again")
        if make_room:
            self._make_room()
        try:
            model = load_model(version.folder, self._settings, self._metrics)
        except SegError as error:
            reason = without_folders(str(error), version.folder)
            raise _broken(version, reason, _fault_of(error)) from error
        except Exception as error:
            LOGGER.error("error", extra={"fields": where_it_failed(error)})
            reason = "the model could not be loaded; the log says where"
            raise _broken(version, reason, "other") from error
        if model.package.card != version.card:
            model.close()
            raise NotReadyError("the package was replaced just now; ask again")
        with self._lock:
            version.model = model
            version.golden_error = model.golden_error
            version.last_used = monotonic()
            version.state = "proven"
            self._loaded.add(version)
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="idle", daemon=True)
                self._watcher.start()
        return model

    def _make_room(self) -> None:
        while len(self._loaded) >= self._settings.max_models:
            if not self._unload_one():
                raise Problem(
                    503,
                    f"{self._settings.max_models} models are in use and no more are kept in "
                    "memory; try again",
                    {"Retry-After": "1"},
                )

    def _trim(self) -> None:
        with self._lock:
            retired = [v for v in self._loaded if v.retired and not v.leases]
        for version in retired:
            self._unload(version)
        while len(self._loaded) > self._settings.max_models and self._unload_one():
            pass

    def _unload_one(self) -> bool:
        """Unload what is idle and was not used for longest; whether there was one."""
        with self._lock:
            idle = [v for v in self._loaded if not v.leases and not v.stale]
        least = min(idle, key=lambda v: v.last_used, default=None)
        if least is None:
            return False
        self._unload(least)
        return True

    def _unload(self, version: ModelVersion) -> None:
        with self._lock:
            if version.leases:
                return
            model, version.model = version.model, None
            self._loaded.discard(version)
        if model:
            model.close()


def _broken(version: ModelVersion, reason: str, fault: Fault) -> NotReadyError:
    version.reason, version.fault, version.state = reason, fault, "broken"
    fields = {"model": version.card.name, "version": version.card.version, "reason": reason}
    LOGGER.error("not ready", extra={"fields": fields})
    return NotReadyError(reason)


def _fault_of(error: SegError) -> Fault:
    if isinstance(error, PackageError):
        return "package"
    return "golden" if isinstance(error, BackendError) else "other"
