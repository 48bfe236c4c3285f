"""A job that a thread is at, and the signs of life that it gives."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import monotonic

from service.batching.request_backend import SharedBackend
from service.jobs.database import DatabaseUnavailableError
from service.jobs.records import Job, Progress
from service.observability.logs import LOGGER, where_it_failed

BEAT_S = 1.0
"""Most seconds between two signs of life, and two updates of the progress."""
STUCK_S = 3.0
"""Seconds in which a job that was stopped ends, as it does at the next patch; else its thread is
left to itself."""


@dataclass(frozen=True, slots=True)
class JobBounds:
    """Of the work on a job, in seconds."""

    beat_s: float
    """Between two signs of life."""
    limit_s: float
    """After which it is stopped."""
    longest_run_s: float
    """After which a run of the network counts as one that never ends."""


class HeldJob:
    """A job, the worker that holds it, and how far it is."""

    def __init__(self, job: Job, worker: str) -> None:
        self.job = job
        self.worker = worker
        self.thread = threading.current_thread()
        self.begun = monotonic()
        self.progress = Progress()
        self.is_lost = False
        """Deleted, or another worker's."""
        self.is_late = False
        self.hangs = False
        """A run of the network does not come back over it."""
        self.is_given_up = False
        """Its thread may never come back; another has taken its place."""

    def on_tile(self, done: int, total: int) -> None:
        """So many tiles of the image at hand are done."""
        self.progress = replace(self.progress, tiles_done=done, tiles_total=total)

    def on_image(self) -> None:
        """An image is done."""
        self.progress = Progress(images_done=self.progress.images_done + 1)

    @contextmanager
    def kept(
        self,
        backend: SharedBackend,
        renew: Callable[[], bool],
        is_of_no_use: Callable[[], bool],
        give_up: Callable[[], None],
        bounds: JobBounds,
    ) -> Iterator[None]:
        """Give signs of life while the block works; stop it when that is of no use any more.

        Args:
            backend: runs its patches.
            renew: gives one; False where the job is not this worker's any more.
            is_of_no_use: whether the process ends.
            give_up: is called once, in another thread, where the work does not stop.
            bounds: how often, and for how long.
        """
        done = threading.Event()

        def beat() -> None:
            stopped_at: float | None = None
            while not done.wait(bounds.beat_s):
                try:
                    self.is_lost = not renew()
                    self.is_late = monotonic() - self.begun > bounds.limit_s
                    self.hangs = backend.runs.longest_s > bounds.longest_run_s
                    if self.is_lost or self.is_late or self.hangs or is_of_no_use():
                        backend.cancel()
                        stopped_at = stopped_at or monotonic()
                    if self.hangs or (stopped_at and monotonic() - stopped_at > STUCK_S):
                        self.is_given_up = True
                        give_up()
                        return
                except DatabaseUnavailableError as error:  # the lease may outlast it
                    LOGGER.error("jobs", extra={"fields": where_it_failed(error)})

        beating = threading.Thread(target=beat, name="jobs-beat", daemon=True)
        beating.start()
        try:
            yield
        finally:
            done.set()
            beating.join()
