"""``/jobs``: take a job in, tell how far it is, hand over its answer, forget it."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any, BinaryIO

import anyio
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from service.jobs.files import RESULT, JobFiles
from service.jobs.records import Job
from service.jobs.runner import JobRunner
from service.jobs.store import JobStore, KeyInUseError, NewJob, QueueFullError
from service.options import options_of
from service.orders import Order, order_of
from service.problems import Problem, problem
from service.quality import QUALITY_HEADER
from service.registry import ModelRegistry
from service.uploads import Images, uploaded_in_time

CHUNK = 1 << 20
EVENTS_POLL_S = 0.5
KEEP_ALIVE_S = 15.0
"""Proxies close connections on which nothing moves."""
MOST_KEY_LETTERS = 255


@dataclass(frozen=True, slots=True)
class Jobs:
    """All that jobs need, of one process."""

    store: JobStore
    files: JobFiles
    runner: JobRunner

    @classmethod
    def of(cls, models: ModelRegistry) -> "Jobs":
        """Open the stores that the settings name.

        Raises:
            ConfigError: one of them cannot be opened.
        """
        files = JobFiles(models.settings.jobs_files)
        store = JobStore(models.settings.database_url)
        return cls(store, files, JobRunner(models, store, files))

    def start(self) -> None:
        """Begin to work."""
        self.runner.start()

    def close(self) -> None:
        """Put back what is being worked on."""
        self.runner.close()
        self.store.close()


class JobRoutes:
    """The routes."""

    def __init__(self, models: ModelRegistry, jobs: Jobs) -> None:
        self._models = models
        self._settings = models.settings
        self._store, self._files, self._runner = jobs.store, jobs.files, jobs.runner

    def routes(self) -> list[Route]:
        """For an application."""
        return [
            Route("/jobs", self.submit, methods=["POST"]),
            Route("/jobs/{job}", self.show, methods=["GET"]),
            Route("/jobs/{job}", self.delete, methods=["DELETE"]),
            Route("/jobs/{job}/result", self.result, methods=["GET"]),
            Route("/jobs/{job}/events", self.events, methods=["GET"]),
        ]

    async def submit(self, request: Request) -> Response:
        """``POST /jobs``: images in, a job out."""
        options = options_of(request.query_params)
        if options.quality or options.deadline_ms:
            raise Problem(422, "a job is answered in full quality, whenever its turn comes")
        version = self._models.choose(options.model)
        order = order_of(options, request.headers.get("accept"), version.card)
        new = NewJob(
            owner=owner_of(request),
            model=version.label,
            order=order.model_dump(mode="json"),
            idempotency_key=_idempotency_key(request),
        )
        job = await self._reserved(request, new, order)
        if isinstance(job, Job):
            return self._accepted(job)
        try:
            async with uploaded_in_time(request, self._settings.job_timeout_s) as images:
                await run_sync(self._take_in, job, images, order)
                self._runner.wake()
                taken = await run_sync(self._store.get, job)
                if taken is None:
                    raise Problem(404, NO_SUCH_JOB)
                return self._accepted(taken)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await run_sync(self._forget, job)
            raise

    async def show(self, request: Request) -> Response:
        """``GET /jobs/{job}``: its state."""
        job = await self._found(request)
        headers = {} if job.is_over else {"Retry-After": "1"}
        return JSONResponse(as_plain(job), headers=headers)

    async def delete(self, request: Request) -> Response:
        """``DELETE /jobs/{job}``: stop it if it runs, and delete all its files."""
        job = await self._found(request)
        await run_sync(self._forget, job.id)
        return Response(status_code=204)

    async def result(self, request: Request) -> Response:
        """``GET /jobs/{job}/result``: its answer, as ``POST /segment`` would have given it."""
        job = await self._found(request)
        if job.state == "failed":
            raise Problem(job.problem_status or 500, job.problem_detail or "")
        if job.state != "done" or job.result is None:
            raise Problem(
                409, f"the job is {job.state}; it has no result yet", {"Retry-After": "1"}
            )
        try:
            file = await run_sync(self._files.open, job.id, RESULT)
        except FileNotFoundError:
            raise Problem(404, NO_SUCH_JOB) from None
        found = job.result
        headers = {
            "Content-Length": str(found["bytes"]),
            "Content-Disposition": f'attachment; filename="{found["filename"]}"',
        }
        if found["quality"]:
            headers[QUALITY_HEADER] = found["quality"]
        return StreamingResponse(_chunks(file), media_type=found["media_type"], headers=headers)

    async def events(self, request: Request) -> Response:
        """``GET /jobs/{job}/events``: its state whenever it changes, as server-sent events."""
        job = await self._found(request)
        headers = {"X-Accel-Buffering": "no"}  # nginx would collect them
        return StreamingResponse(self._events(job), media_type="text/event-stream", headers=headers)

    async def _events(self, first: Job) -> AsyncIterator[bytes]:
        job: Job | None = first
        told: dict[str, Any] | None = None
        quiet = 0.0
        yield b"retry: 2000\n\n"
        while job is not None:
            plain = as_plain(job)
            seen = {name: value for name, value in plain.items() if name != "seconds_left"}
            if seen != told:
                told, quiet = seen, 0.0
                yield _event("end" if job.is_over else "progress", plain)
            elif quiet >= KEEP_ALIVE_S:
                quiet = 0.0
                yield b": still there\n\n"
            if job.is_over:
                return
            await asyncio.sleep(EVENTS_POLL_S)
            quiet += EVENTS_POLL_S
            job = await run_sync(self._store.get, first.id)
        yield _event("end", {"id": first.id, "state": "deleted"})

    async def _reserved(self, request: Request, new: NewJob, order: Order) -> str | Job:
        """The id of a new job, or the job that the same request has made before."""
        settings = self._settings
        try:
            reserve = partial(self._store.reserve, new, settings.max_jobs, settings.job_timeout_s)
            return await run_sync(reserve)
        except QueueFullError:
            raise Problem(
                503,
                f"{settings.max_jobs} jobs wait already; try again later",
                {"Retry-After": "60"},
            ) from None
        except KeyInUseError:
            assert new.idempotency_key is not None
        known = await run_sync(self._store.by_key, new.owner, new.idempotency_key)
        if known is None or known.state == "uploading":
            raise Problem(
                409,
                "a request with this Idempotency-Key is on its way; ask again when it is answered",
                {"Retry-After": "1"},
            )
        async with uploaded_in_time(request, settings.job_timeout_s) as images:
            is_same = known.content_hash == await run_sync(_hash_of, images, order)
        if not is_same:
            raise Problem(422, "this Idempotency-Key belongs to a job of other images or options")
        return known

    def _take_in(self, job: str, images: Images, order: Order) -> None:
        content_hash = _hash_of(images, order)
        names: list[list[str]] = []
        for number, channels in enumerate(images):
            names.append([f"image-{number}-{channel}" for channel in range(len(channels))])
            for name, file in zip(names[-1], channels, strict=True):
                self._files.put(job, name, file)
        self._store.enqueue(job, names, content_hash, self._settings.job_keep_s)

    def _forget(self, job: str) -> None:
        self._store.delete(job)
        self._files.delete(job)

    def _accepted(self, job: Job) -> Response:
        headers = {"Location": f"/jobs/{job.id}", "Retry-After": "1"}
        return JSONResponse(as_plain(job), status_code=202, headers=headers)

    async def _found(self, request: Request) -> Job:
        job = await run_sync(self._store.get, request.path_params["job"])
        if job is None or job.owner != owner_of(request):
            raise Problem(404, NO_SUCH_JOB)
        return job


NO_SUCH_JOB = "there is no such job; it may have expired or been deleted"


def owner_of(request: Request) -> str:
    """Whose jobs a request may see; all are one owner's where nobody is asked for a key."""
    return str(request.scope.get("state", {}).get("client", ""))


def as_plain(job: Job) -> dict[str, Any]:
    """A job as JSON."""
    progress, images = job.progress, len(job.images) or 1
    is_done = job.state == "done"
    left = job.seconds_left
    path = f"/jobs/{job.id}"
    result = job.result or {}
    return {
        "id": job.id,
        "state": job.state,
        "model": job.model,
        "created": _time(job.created),
        "started": _time(job.started),
        "finished": _time(job.finished),
        "expires": _time(job.expires),
        "attempts": job.attempts,
        "jobs_ahead": job.ahead if job.state == "queued" else None,
        "progress": 1.0 if is_done else round(progress.fraction(images), 4),
        "images_done": images if is_done else progress.images_done,
        "images_total": images,
        "tiles_done": progress.tiles_done,
        "tiles_total": progress.tiles_total or None,
        "seconds_left": None if left is None else round(left, 1),
        "problem": problem(job.problem_status, job.problem_detail) if job.problem_status else None,
        "result": {
            "href": f"{path}/result",
            "media_type": result["media_type"],
            "filename": result["filename"],
            "bytes": result["bytes"],
            "images_failed": result["failed"],
        }
        if is_done
        else None,
        "links": {"self": path, "events": f"{path}/events", "result": f"{path}/result"},
    }


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= MOST_KEY_LETTERS:
        raise Problem(422, f"an Idempotency-Key has 1 to {MOST_KEY_LETTERS} letters")
    return key


def _hash_of(images: Images, order: Order) -> str:
    """Of content and options, each part preceded by its length; leaves the files at their start."""
    total = hashlib.sha256(order.model_dump_json().encode())
    for channels in images:
        total.update(f"\0{len(channels)}".encode())
        for file in channels:
            total.update(_hash_of_file(file))
    return total.hexdigest()


def _hash_of_file(file: BinaryIO) -> bytes:
    one = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(CHUNK):
        one.update(chunk)
    file.seek(0)
    return one.digest()


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    try:
        while chunk := await run_sync(file.read, CHUNK):
            yield chunk
    finally:
        file.close()


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
