"""Series that are sent instance by instance: one job each, begun when nothing more comes.

Whoever receives instances, over HTTP or by DICOM's own protocol, hands them over here. What has
come lies in the job's folder, so that it outlives the process, and replicas add to one job.
"""

import json
import os
import secrets
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from typing import IO

from service.archives.rules import SeriesFacts
from service.jobs.files import HEAD, JobFiles
from service.jobs.intake import reserve
from service.jobs.records import Job, NewJob
from service.jobs.refused import KeyInUseError
from service.jobs.room import JobRoom
from service.jobs.store import JobStore
from service.observability.tracing import current_traceparent
from service.problems.response import Problem
from service.requests.order import Order
from service.settings import Settings

PART, FACTS = "part-", "facts-"
"""Files of a job: instances as a ZIP file, their names their SOPInstanceUIDs; and what they are."""
MOST_TRIES = 100
SUPERSEDED = "more of the series came; another job has all of it"
UNDECIDED_S = 60.0
"""Seconds for which instances are kept of which nothing is to be made unless more come."""

Decide = Callable[[SeriesFacts], tuple[str, Order] | None]
"""Model and order for a series as far as it has come; None leaves it alone."""


@dataclass(frozen=True, eq=False)
class ReceivedSeries:
    """Instances of one series."""

    facts: SeriesFacts
    file: IO[bytes]
    """ZIP file of them, at its start."""


@dataclass(frozen=True, slots=True)
class _Beginning:
    """How the work on a series begins."""

    owner: str
    decide: Decide
    silence_s: float


@dataclass(frozen=True)
class Taken:
    """A job of a series, and SOPInstanceUIDs by which other images of it came before.

    These are passed over.
    """

    job: str
    clashing: frozenset[str] = frozenset()


class Inbox:
    """Where series come in."""

    def __init__(self, store: JobStore, files: JobFiles, settings: Settings) -> None:
        self._store, self._files, self._settings = store, files, settings
        self._room = JobRoom.of(settings, files)
        self._one_by_one = threading.Lock()

    def take(
        self,
        owner: str,
        received: ReceivedSeries,
        decide: Decide,
        silence_s: float | None = None,
    ) -> "Taken":
        """Add instances to the job of their series, which is begun after a while of silence.

        An instance that came before costs nothing. Where work has begun already, the series gets a
        new job with all that has come of it, and the former one, where it is not over, ends. One
        that failed is done again when its series is sent again.

        Args:
            owner: who sees the job.
            received: what has come.
            decide: what is to be done.
            silence_s: seconds without another instance after which work begins; None are those of
                the settings.

        Raises:
            Problem: 503, too many jobs wait; 429, 507, they take too much room.
            FilesUnavailableError: nothing can be kept now.
        """
        facts = received.facts
        key = _key_of(facts)
        begin = _Beginning(
            owner, decide, self._settings.dicom_silence_s if silence_s is None else silence_s
        )
        with self._one_by_one:
            for _ in range(MOST_TRIES):
                earlier = self._store.by_key(owner, key)
                if earlier is None:
                    if (job := self._reserved(owner, key)) is not None:
                        self._added(job, received, [], begin)
                        return Taken(job)
                    continue
                before = self._facts(earlier)
                clashing = frozenset(facts.clashes_with(_whole(facts, before)))
                is_more = bool(set(received.facts.slices_of) - _instances(before))
                if not is_more and earlier.state != "failed":
                    return Taken(earlier.id, clashing)
                if is_more and self._may_grow(earlier):
                    if self._added(earlier.id, received, before, begin):
                        return Taken(earlier.id, clashing)
                    continue
                return Taken(self._anew(earlier, received, before, begin), clashing)
        raise Problem(503, "the series cannot be taken in now", {"Retry-After": "5"})

    def _reserved(self, owner: str, key: str | None) -> str | None:
        """A new job; None where another process was faster."""
        empty = NewJob(
            owner=owner,
            model="",
            order={},
            idempotency_key=key,
            traceparent=current_traceparent(),
        )
        try:
            return reserve(self._store, self._settings, empty)
        except KeyInUseError:
            return None

    def _added(
        self,
        job: str,
        received: ReceivedSeries,
        before: Sequence[SeriesFacts],
        begin: "_Beginning",
        instead_of: str | None = None,
    ) -> bool:
        part = secrets.token_hex(8)
        size = received.file.seek(0, os.SEEK_END)
        self._room.take(self._store, job, size, more=True)
        received.file.seek(0)
        self._files.put(job, PART + part, received.file)
        with self._files.writing(job, FACTS + part) as file:
            file.write(json.dumps(asdict(received.facts)).encode())
        decided = begin.decide(_whole(received.facts, before))
        new = None
        if decided is not None:
            model, order = decided
            new = NewJob(owner=begin.owner, model=model, order=order.model_dump(mode="json"))
        keep_s = self._settings.job_keep_s if new else max(UNDECIDED_S, 10 * begin.silence_s)
        superseded = None if instead_of is None else (instead_of, SUPERSEDED)
        return self._store.extend(job, PART + part, new, begin.silence_s, keep_s, superseded)

    def _anew(
        self,
        earlier: Job,
        received: ReceivedSeries,
        before: Sequence[SeriesFacts],
        begin: "_Beginning",
    ) -> str:
        """A job with the instances of the former one as well, which it takes the place of."""
        job = self._reserved(earlier.owner, None)
        assert job is not None
        whole = _whole(received.facts, before)
        parts = [partial(self._files.open, earlier.id, name) for name in earlier.images[0]]
        try:
            with tempfile.TemporaryFile() as file:
                merged([*parts, lambda: nullcontext(received.file)], file)
                self._added(job, ReceivedSeries(whole, file), [], begin, instead_of=earlier.id)
        except BaseException:  # it has no key yet, by which it would be found when more comes
            self._files.delete(job)
            self._store.delete(job)
            raise
        return job

    def _may_grow(self, job: Job) -> bool:
        is_waiting = job.state in ("uploading", "queued") and job.attempts == 0
        return is_waiting and not self._files.has(job.id, HEAD)

    def _facts(self, job: Job) -> list[SeriesFacts]:
        """What is known of a job's parts, in their order."""
        parts = job.images[0] if job.images else []
        names = [FACTS + part.removeprefix(PART) for part in parts]
        return [SeriesFacts(**json.loads(self._files.read(job.id, name))) for name in names]


def _key_of(facts: SeriesFacts) -> str:
    """Study and series: anonymisers give one name to series of several patients.

    NUL: no client's Idempotency-Key is one.
    """
    return f"\0series {facts.series} of {facts.study}"


def _whole(facts: SeriesFacts, before: Sequence[SeriesFacts]) -> SeriesFacts:
    """All that has come of a series; of one name the image that came first."""
    for each in reversed(before):
        facts = facts.and_more(each)
    return facts


def _instances(facts: Sequence[SeriesFacts]) -> set[str]:
    return {uid for each in facts for uid in each.slices_of}


def merged(
    parts: Sequence[Callable[[], AbstractContextManager[IO[bytes]]]], target: IO[bytes]
) -> int:
    """Write one ZIP file of the instances in several, each once; how many they are."""
    names: set[str] = set()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as whole:
        for opened in parts:
            with opened() as file, zipfile.ZipFile(file) as archive:
                for info in archive.infolist():
                    if info.filename not in names:
                        names.add(info.filename)
                        with (
                            archive.open(info) as member,
                            whole.open(info.filename, "w", force_zip64=True) as copy,
                        ):
                            shutil.copyfileobj(member, copy, 1 << 20)
    return len(names)
