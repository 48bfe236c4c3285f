"""The images of a job: kept, and known again when they are sent once more."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import BinaryIO

import anyio
from anyio.to_thread import run_sync
from starlette.requests import Request

from service.answers.streams import CHUNK
from service.jobs.database import DatabaseUnavailableError
from service.jobs.files import JobFiles
from service.jobs.records import Job, NewJob
from service.jobs.refused import KeyInUseError, QueueFullError, TooManyKeptError
from service.jobs.store import JobStore
from service.problems.response import Problem
from service.requests.order import Order
from service.requests.uploads import Images
from service.settings import Settings

MOST_KEY_LETTERS = 255
UPLOAD_LEASE_S, UPLOAD_BEAT_S = 60.0, 15.0
"""Seconds after which an upload that gave no sign of life is over, since its process died; and
between two of them."""


def idempotency_key_of(request: Request) -> str | None:
    """What tells that a request was sent before.

    Raises:
        Problem: 422, it is too long.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= MOST_KEY_LETTERS:
        raise Problem(422, f"an Idempotency-Key has 1 to {MOST_KEY_LETTERS} letters")
    return key


async def reserved(store: JobStore, settings: Settings, new: NewJob) -> str | Job:
    """The id of a new job, or the job of the same Idempotency-Key, which is to be compared.

    Raises:
        Problem: as of `reserve`; 409, the request with that key is on its way.
    """
    try:
        return await run_sync(reserve, store, settings, new, UPLOAD_LEASE_S)
    except KeyInUseError:
        assert new.idempotency_key is not None
    known = await run_sync(store.by_key, new.owner, new.idempotency_key)
    if known is None or known.state == "uploading":
        raise Problem(
            409,
            "a request with this Idempotency-Key is on its way; ask again when it is answered",
            {"Retry-After": "1"},
        )
    return known


def reserve(store: JobStore, settings: Settings, new: NewJob, upload_s: float | None = None) -> str:
    """The id of a new job.

    Args:
        store: of jobs.
        settings: of the service.
        new: what is to be done.
        upload_s: as of `JobStore.reserve`; None is what a whole job may take.

    Raises:
        KeyInUseError: its owner has used this idempotency key.
        Problem: 503, too many wait; 429, the key has too many that are kept; 507, all have.
    """
    try:
        upload_s = upload_s or settings.job_timeout_s
        return store.reserve(new, settings.max_jobs, upload_s, settings.max_kept_jobs)
    except QueueFullError:
        status, detail = 503, f"{settings.max_jobs} jobs wait already; try again later"
    except TooManyKeptError as error:
        status = 429 if error.of_key else 507
        detail = (
            f"{settings.max_kept_jobs // 2:,} of your jobs are kept already; delete some that are "
            "done (DELETE /jobs/ID), or wait until they expire"
            if error.of_key
            else f"{settings.max_kept_jobs:,} jobs are kept already; try again later, or raise "
            "SEG_MAX_KEPT_JOBS"
        )
    raise Problem(status, detail, {"Retry-After": "60"})


@asynccontextmanager
async def coming_whole(
    store: JobStore, forget: Callable[[str], object], job: str
) -> AsyncIterator[None]:
    """A job whose images do not come whole leaves nothing behind; until then others are told.

    Args:
        store: of the job.
        forget: deletes a job.
        job: its id.
    """
    signs = asyncio.create_task(_signs_of_life(store, job))
    try:
        yield
    except BaseException:
        with anyio.CancelScope(shield=True):
            await run_sync(forget, job)
        raise
    finally:
        signs.cancel()


async def _signs_of_life(store: JobStore, job: str) -> None:
    while True:
        await asyncio.sleep(UPLOAD_BEAT_S)
        with suppress(DatabaseUnavailableError):  # the lease may outlast it
            await run_sync(store.goes_on, job, UPLOAD_LEASE_S)


def check_same(store: JobStore, job: Job, content: str) -> None:
    """Whether a request that was sent again is the one that made the job.

    Raises:
        Problem: 422, it is another one.
    """
    if not store.is_of(job, content):
        raise Problem(422, "this Idempotency-Key belongs to a job of other images or options")


def kept(files: JobFiles, job: str, images: Images) -> list[list[str]]:
    """Names in the file store, by number: what a client calls them is not known.

    Raises:
        FilesUnavailableError: they cannot be kept now.
    """
    names: list[list[str]] = []
    for number, channels in enumerate(images):
        names.append([f"image-{number}-{channel}" for channel in range(len(channels))])
        for name, file in zip(names[-1], channels, strict=True):
            file.seek(0)
            files.put(job, name, file)
    return names


def hash_of(images: Images, order: Order, model: str | None) -> str:
    """Of content and options, each part preceded by its length; leaves the files at their start.

    Args:
        images: of the request.
        order: its options.
        model: as the request named it: whoever names none is answered by the one that was the
            default then.
    """
    total = hashlib.sha256(request_text(order, model).encode())
    for channels in images:
        total.update(f"\0{len(channels)}".encode())
        for file in channels:
            total.update(_hash_of_file(file))
    return total.hexdigest()


def request_text(order: Order, model: str | None) -> str:
    """What a request asks for, as text that no other has."""
    return order.model_dump_json() + ("" if model is None else f"\0model {model}")


def _hash_of_file(file: BinaryIO) -> bytes:
    one = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(CHUNK):
        one.update(chunk)
    file.seek(0)
    return one.digest()
