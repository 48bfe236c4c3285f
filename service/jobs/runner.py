"""The threads that work on jobs, in the process that serves."""

import os
import re
import secrets
import sys
import threading
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from functools import partial
from time import monotonic
from typing import Any

from seg.errors import ArchiveAwayError, ArchiveError, BackendError
from service.answers.answer import Content, Work, answer
from service.archives.destinations import Destinations
from service.batching.request_backend import SharedBackend
from service.errors import (
    DecodingFullError,
    RequestCancelledError,
    SchedulerClosedError,
    keeping_nothing,
)
from service.jobs.archived import ArchivedJobs, in_words
from service.jobs.database import DatabaseUnavailableError
from service.jobs.files import RESULT, FilesUnavailableError, JobFiles
from service.jobs.held import BEAT_S, HeldJob, JobBounds
from service.jobs.store import JobStore
from service.models.ready_model import ReadyModel
from service.models.registry import ModelRegistry
from service.observability.logs import LOGGER, where_it_failed
from service.observability.tracing import span
from service.problems.response import status_and_detail
from service.requests.order import Order
from service.settings import Settings

UID = re.compile(r"[0-9]+(?:\.[0-9]+){3,}")
"""Names of series and instances, which no log holds."""
POLL_S = 1.0
"""Seconds between two looks for jobs that another replica took in."""
SWEEP_S = 60.0
"""Seconds between two looks for what has expired."""
COUNT_S = 2.0
"""Seconds between two looks at how many jobs wait."""
NICENESS = 10
"""Decoding and stitching of jobs gives way to that of requests on a busy machine."""
NEVER_ENDS = (
    "the network did not come back over this image, or over one that was computed with it; the job "
    "is not tried again"
)


class JobRunner:
    """Takes jobs from the store, and does away with expired ones."""

    def __init__(self, models: ModelRegistry, store: JobStore, files: JobFiles) -> None:
        self._models = models
        self._settings: Settings = models.settings
        self._store = store
        self._files = files
        self.archived = ArchivedJobs(files, Destinations.of(self._settings), self._settings)
        self._closing = threading.Event()
        self._wake = threading.Condition()
        self._has_news = False
        sweeper = threading.Thread(target=self._sweep, name="jobs-expire", daemon=True)
        counter = threading.Thread(target=self._count, name="jobs-count", daemon=True)
        self._threads = [sweeper, counter]
        for _ in range(self._settings.job_workers):
            self._add_worker()
        self.waiting: int | None = None
        """Jobs of all replicas that wait; None where the database did not say."""

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """There is a new job."""
        with self._wake:
            self._has_news = True
            self._wake.notify()

    def forget(self, job: str) -> None:
        """Delete a job and its files.

        Nobody takes it up from now on. The row goes after the files, or nothing would say that they
        are there; and whoever works on it may write once more before the row is gone.

        Raises:
            FilesUnavailableError: the job is there still.
        """
        self._store.withdraw(job)
        self._files.delete(job)
        self._store.delete(job)
        self._files.delete(job)

    def close(self) -> None:
        """Put back what is being worked on, and end the threads."""
        self._closing.set()
        with self._wake:
            self._wake.notify_all()
        for thread in list(self._threads):
            if thread.is_alive():
                thread.join()

    def _work(self) -> None:
        _be_nice()
        self._models.wait()
        worker = secrets.token_hex(16)
        while not self._closing.is_set():
            job = held = None
            self._has_news = False
            try:
                labels = [v.label for v in self._models.able()]
                job = self._store.claim(
                    labels,
                    worker,
                    lease_s=self._settings.job_lease_s,
                    keep_s=self._settings.job_keep_s,
                )
                if job is not None:
                    held = HeldJob(job, worker)
                    self._run_with_model(held)
            except Exception as error:  # the database, the files or the device fail; try again
                LOGGER.error("jobs", extra={"fields": where_it_failed(error)})
                job = None
            if held is not None and held.is_given_up:  # another thread is in this one's place
                return
            if job is None:
                with self._wake:
                    self._wake.wait_for(lambda: self._has_news or self._closing.is_set(), POLL_S)

    def _run_with_model(self, held: HeldJob) -> None:
        """Do a job; one whose model cannot be had now goes back and has lost no attempt."""
        with ExitStack() as stack:
            try:
                version = self._models.choose(held.job.model)
                model = stack.enter_context(self._models.memory.leased(version))
            except BaseException:
                self._store.release(held.job.id, held.worker)
                raise
            self._run(held, model)

    def _run(self, held: HeldJob, model: ReadyModel) -> None:
        job, settings = held.job, self._settings
        LOGGER.info("job begun", extra={"fields": {"attempt": job.attempts}})
        backend = model.backend(background=True)
        with self._kept(held, model, backend):
            try:
                with keeping_nothing():
                    result = self._answered(held, model, backend)
            except Exception as error:
                self._on_error(held, model, error)
            else:
                if not self._store.finish(job.id, held.worker, result, settings.job_keep_s):
                    held.is_lost = True
        if held.is_lost and self._store.get(job.id) is None:
            self._files.delete(job.id)
        fields = {"attempt": job.attempts, "seconds": round(monotonic() - held.begun, 1)}
        LOGGER.info("job ended", extra={"fields": fields})

    def _on_error(self, held: HeldJob, model: ReadyModel, error: Exception) -> None:
        """Raises what is no fault of the job, which has gone back then and has lost no attempt."""
        if not self._renew(held):  # nobody asks: what fails is that its files are gone
            held.is_lost = True
        elif isinstance(error, RequestCancelledError | SchedulerClosedError):
            self._stopped(held)
        elif isinstance(error, ArchiveError):
            self._archive_failed(held, error)
        elif isinstance(error, FileNotFoundError):  # its images are gone for good
            self._failed(held, error)
        elif isinstance(error, FilesUnavailableError | DecodingFullError | OSError) or (
            isinstance(error, BackendError) and not model.health.works()
        ):  # they may be had later
            self._store.release(held.job.id, held.worker)
            raise error
        else:
            self._failed(held, error)

    def _answered(self, held: HeldJob, model: ReadyModel, backend: SharedBackend) -> dict[str, Any]:
        job, order = held.job, Order.model_validate(held.job.order)
        if order.archive is None:
            images: list[list[Content]] = [
                [partial(self._files.open, job.id, name) for name in files] for files in job.images
            ]
            return self._segmented(held, model, backend, order, images)

        def segment(series: str | None) -> dict[str, Any]:
            of_it = order.model_copy(update={"series": series})
            return self._segmented(held, model, backend, of_it, self.archived.images(job))

        check, check_held = backend.raise_if_cancelled, partial(self._check_held, held)
        return self.archived.worked(job, order.archive, check, check_held, segment)

    def _check_held(self, held: HeldJob) -> None:
        """Nobody has taken the job over, deleted or superseded it since the last sign of life."""
        if not self._renew(held):
            held.is_lost = True
            raise RequestCancelledError

    def _segmented(
        self,
        held: HeldJob,
        model: ReadyModel,
        backend: SharedBackend,
        order: Order,
        images: list[list[Content]],
    ) -> dict[str, Any]:
        job = held.job
        work = Work(
            model=model,
            decoder=self._models.decoder,
            order=order,
            backend=backend,
            rung=model.chooser.rungs[0],
            lowest_dice=self._settings.lowest_dice if order.archive else None,
            on_tile=held.on_tile,
            on_image=held.on_image,
        )
        with span("job", job.traceparent), self._files.writing(job.id, RESULT) as target:
            head = answer(work, images, target)
        return {**asdict(head), "bytes": self._files.size(job.id, RESULT)}

    def _failed(self, held: HeldJob, error: Exception) -> None:
        status, detail = status_and_detail(error)
        if status >= 500:
            LOGGER.error("error", extra={"fields": where_it_failed(error)})
            detail = "the service failed on this job; its log says where"
        self._fail(held, status, detail)

    def _archive_failed(self, held: HeldJob, error: ArchiveError) -> None:
        """One that is away is asked again for a while, and nothing waits for that."""
        if isinstance(error, ArchiveAwayError):
            wait_s = self.archived.waits(held.job, error.again_s)
            if wait_s is not None:
                self._store.release(held.job.id, held.worker, wait_s)
                return
        self._fail(held, status_and_detail(error)[0], in_words(error))

    def _fail(self, held: HeldJob, status: int, detail: str) -> None:
        self._store.fail(held.job.id, held.worker, status, detail, self._settings.job_keep_s)
        fields: dict[str, object] = {"status": status}
        if held.job.order.get("archive"):  # nobody asks after what was sent
            fields["reason"] = UID.sub("UID", detail)
        LOGGER.warning("job failed", extra={"fields": fields})

    def _stopped(self, held: HeldJob) -> None:
        if held.hangs or held.is_late:
            self._fail_out_of_time(held)
        elif not held.is_lost:
            self._store.release(held.job.id, held.worker)

    def _kept(
        self, held: HeldJob, model: ReadyModel, backend: SharedBackend
    ) -> AbstractContextManager[None]:
        """Give signs of life; stop the work when it is of no use any more."""
        lease_s = self._settings.job_lease_s
        return held.kept(
            backend,
            partial(self._renew, held),
            self._closing.is_set,
            partial(self._give_up, held),
            JobBounds(
                min(BEAT_S, lease_s / 4), self._settings.job_timeout_s, model.health.longest_run_s
            ),
        )

    def _renew(self, held: HeldJob) -> bool:
        lease_s = self._settings.job_lease_s
        return self._store.renew(held.job.id, held.worker, lease_s, held.progress)

    def _give_up(self, held: HeldJob) -> None:
        """Leave a thread that does not come back to itself; others' jobs have its place."""
        seconds = round(monotonic() - held.begun, 1)
        LOGGER.error("hanging", extra={"fields": {"seconds": seconds}})
        if not self._closing.is_set():
            self._threads.remove(held.thread)
            self._add_worker().start()
        if not held.is_lost:
            self._fail_out_of_time(held)

    def _fail_out_of_time(self, held: HeldJob) -> None:
        limit_s = self._settings.job_timeout_s
        too_late = f"the job took longer than {limit_s:g} s and was stopped"
        self._fail(held, 504, NEVER_ENDS if held.hangs else too_late)

    def _add_worker(self) -> threading.Thread:
        worker = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._threads.append(worker)
        return worker

    def _try_to_forget(self, job: str) -> None:
        try:
            self.forget(job)
        except FilesUnavailableError as error:  # it will be told as expired again
            LOGGER.error("jobs", extra={"fields": where_it_failed(error)})

    def _count(self) -> None:
        """Apart from whoever asks for it: the database may be away."""
        while not self._closing.is_set():
            try:
                self.waiting = self._store.waiting()
            except DatabaseUnavailableError:  # the sweeper and the workers say so
                self.waiting = None
            self._closing.wait(COUNT_S)

    def _sweep(self) -> None:
        while not self._closing.is_set():
            try:
                for job in self._store.expired():
                    self._try_to_forget(job)
            except Exception as error:  # the database does not answer; try again
                LOGGER.error("jobs", extra={"fields": where_it_failed(error)})
            self._closing.wait(min(SWEEP_S, self._settings.job_keep_s / 4))


def _be_nice() -> None:
    if (
        sys.platform == "linux"
    ):  # where a thread and those that it starts have a niceness of their own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
