"""``/jobs``: take a job in, tell how far it is, hand over its answer, forget it."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from seg.client.schemas import JobListing, JobStatus
from service.answers.quality_header import OBJECTS_HEADER, QUALITY_HEADER
from service.answers.streams import streamed
from service.jobs.events import JobLooks, events_of
from service.jobs.files import RESULT, JobFiles
from service.jobs.intake import (
    check_same,
    coming_whole,
    hash_of,
    idempotency_key_of,
    kept,
    reserved,
)
from service.jobs.records import Job, NewJob, PageEnd
from service.jobs.room import JobRoom
from service.jobs.runner import JobRunner
from service.jobs.status import status_of
from service.jobs.store import JobStore
from service.middleware.caller import caller_of
from service.models.registry import ModelRegistry
from service.observability.metrics import Collector, GaugeMetricFamily
from service.observability.tracing import current_traceparent
from service.preferences import whole_list
from service.problems.response import Problem
from service.requests.addresses import UrlImages
from service.requests.numbers import whole_number
from service.requests.options import options_of
from service.requests.order import Order, order_of
from service.requests.proxies import link
from service.requests.uploads import Images, Uploads

MOST_LISTED = 100


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

    def __init__(self, models: ModelRegistry, jobs: Jobs, urls: UrlImages) -> None:
        self._models = models
        self._settings = settings = models.settings
        self._uploads = Uploads(urls, settings.job_timeout_s, settings.max_job_bytes)
        self._store, self._files, self._runner = jobs.store, jobs.files, jobs.runner
        self._looks = JobLooks(jobs.store)
        self._room = JobRoom.of(settings, jobs.files)
        models.metrics.collect_from(_QueueMetrics(jobs.runner))

    def routes(self) -> list[Route]:
        """For an application."""
        return [
            Route("/jobs", self.submit, methods=["POST"]),
            Route("/jobs", self.listing, methods=["GET"]),
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
        order = order_of(options, whole_list(request.headers, "accept"), version.card)
        job = await reserved(self._store, self._settings, new_job(request, version.label, order))
        if isinstance(job, Job):
            async with self._uploads.images_of(request) as images:
                content = await run_sync(hash_of, images, order, options.model)
                check_same(self._store, job, content)
            return accepted(request, job)
        async with coming_whole(self._store, self._runner.forget, job):
            announced = whole_number(request.headers.get("content-length", ""))
            if announced:
                await run_sync(self._room.take, self._store, job, announced)
            async with self._uploads.images_of(request) as images:
                await run_sync(self._take_in, job, images, order, options.model)
                return await begun(request, self._store, self._runner, job)

    async def listing(self, request: Request) -> Response:
        """``GET /jobs``: one's own jobs, the newest first."""
        query = request.query_params
        owner = owner_of(request)
        if not owner and self._settings.keys == "off":
            raise Problem(403, "where nobody is asked for a key, nobody's jobs are told apart")
        if set(query) - {"after", "limit"}:
            raise Problem(422, "the list of jobs has the options after and limit")
        limit = whole_number(query.get("limit", str(MOST_LISTED)))
        if limit is None or not 1 <= limit <= MOST_LISTED:
            raise Problem(422, f"limit is a number from 1 to {MOST_LISTED}")
        after = await run_sync(self._place, owner, query["after"]) if "after" in query else None
        jobs = await run_sync(self._store.of_owner, owner, limit + 1, after)
        shown, is_more = jobs[:limit], len(jobs) > limit
        path = link(request.scope, "jobs")
        last = PageEnd(shown[-1].created, shown[-1].id) if is_more else None
        following = f"{path}?limit={limit}&after={last}" if last else None
        listing = JobListing(
            jobs=tuple(self._status(request, job) for job in shown),
            next=following,
        )
        return Response(listing.model_dump_json() + "\n", media_type="application/json")

    async def show(self, request: Request) -> Response:
        """``GET /jobs/{job}``: its state."""
        job = await self._found(request)
        headers = {} if job.is_over else {"Retry-After": "1"}
        return _as_json(self._status(request, job), headers=headers)

    async def delete(self, request: Request) -> Response:
        """``DELETE /jobs/{job}``: stop it if it runs, and delete all its files."""
        job = await self._found(request)
        await run_sync(self._runner.forget, job.id)
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
            "Content-Disposition": f'attachment; filename="{found["filename"]}"',
        }
        if found["quality"]:
            headers[QUALITY_HEADER] = found["quality"]
        if found.get("objects"):  # jobs of older versions say nothing of them
            headers[OBJECTS_HEADER] = found["objects"]
        return streamed(file, found["bytes"], found["media_type"], headers)

    async def events(self, request: Request) -> Response:
        """``GET /jobs/{job}/events``: its state whenever it changes, as server-sent events."""
        job = await self._found(request)
        headers = {"X-Accel-Buffering": "no"}  # nginx would collect them
        return StreamingResponse(
            events_of(job, self._looks, partial(self._status, request)),
            media_type="text/event-stream",
            headers=headers,
        )

    def _take_in(self, job: str, images: Images, order: Order, model: str | None) -> None:
        content = hash_of(images, order, model)
        size = sum(file.seek(0, os.SEEK_END) for channels in images for file in channels)
        self._room.take(self._store, job, size)
        names = kept(self._files, job, images)
        self._store.enqueue(job, names, content, self._settings.job_keep_s)

    def _place(self, owner: str, after: str) -> PageEnd:
        """Where a list goes on: what a link ``next`` said, or the id of a job.

        Raises:
            Problem: 422, nothing begins there. An empty list would say that all have been told.
        """
        place = PageEnd.of(after)
        if place is not None:
            return place
        job = self._store.get(after)
        if job is None or job.owner != owner:
            raise Problem(
                422,
                "after is what next of the list before says, or a job of yours that is still "
                "kept; begin the list anew",
            )
        return PageEnd(job.created, job.id)

    def _status(self, request: Request, job: Job) -> JobStatus:
        why = self._models.why_not_able(job.model) if job.state == "queued" and job.model else None
        return status_of(job, link(request.scope, "jobs", job.id), why)

    async def _found(self, request: Request) -> Job:
        job = await run_sync(self._store.get, request.path_params["job"])
        if job is None or job.owner != owner_of(request):
            raise Problem(404, NO_SUCH_JOB)
        return job


NO_SUCH_JOB = "there is no such job; it may have expired or been deleted"


class _QueueMetrics(Collector):
    """How long the queue is, for whoever decides how many replicas there are."""

    def __init__(self, runner: JobRunner) -> None:
        self._runner = runner

    def collect(self) -> Iterator[GaugeMetricFamily]:
        waiting = self._runner.waiting
        if waiting is not None:
            yield GaugeMetricFamily(
                "seg_jobs_waiting", "Jobs of all replicas that nobody works on yet.", value=waiting
            )


def owner_of(request: Request) -> str:
    """Whose jobs a request may see; all are one owner's where nobody is asked for a key."""
    caller = caller_of(request.scope)
    return caller.owner if caller else ""


def new_job(request: Request, model: str, order: Order) -> NewJob:
    """What is kept of a request for a job."""
    return NewJob(
        owner=owner_of(request),
        model=model,
        order=order.model_dump(mode="json"),
        idempotency_key=idempotency_key_of(request),
        traceparent=current_traceparent(),
    )


async def begun(request: Request, store: JobStore, runner: JobRunner, job: str) -> Response:
    """202 with a job that has been taken in, for which a worker is woken.

    Raises:
        Problem: 404, it was deleted meanwhile.
    """
    runner.wake()
    taken = await run_sync(store.get, job)
    if taken is None:
        raise Problem(404, NO_SUCH_JOB)
    return accepted(request, taken)


def accepted(request: Request, job: Job) -> Response:
    """202 with a job, and where it is."""
    headers = {"Location": link(request.scope, "jobs", job.id), "Retry-After": "1"}
    status = status_of(job, link(request.scope, "jobs", job.id))
    return _as_json(status, 202, headers)


def _as_json(
    status: JobStatus, status_code: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(
        status.model_dump_json() + "\n",
        status_code=status_code,
        headers=headers,
        media_type="application/json",
    )
