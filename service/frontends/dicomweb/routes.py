"""The routes: ``POST /dicomweb/jobs``."""

from hashlib import sha256

import anyio
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.frontends.dicomweb.wishes import check_dicom, wish_of
from service.jobs.archived import SERIES, WHICH, SeriesName
from service.jobs.intake import check_same, idempotency_key_of, reserved
from service.jobs.records import Job
from service.jobs.routes import NO_SUCH_JOB, Jobs, accepted, owner_of
from service.jobs.store import NewJob
from service.models.registry import ModelRegistry
from service.observability.tracing import current_traceparent
from service.problems.response import Problem
from service.requests.order import ArchiveOrder, order_of


class DicomWeb:
    """Jobs on series of archives."""

    def __init__(self, models: ModelRegistry, jobs: Jobs) -> None:
        self._models = models
        self._settings = models.settings
        self._store, self._files, self._runner = jobs.store, jobs.files, jobs.runner
        self._sources = jobs.runner.archived.sources

    def routes(self) -> list[Route]:
        """For an application."""
        return [Route("/dicomweb/jobs", self.submit, methods=["POST"])]

    async def submit(self, request: Request) -> Response:
        """``POST /dicomweb/jobs``: fetch a series, segment it, store the result."""
        wish = await wish_of(request)
        source = self._sources.check(wish.source)
        destination = source if wish.destination is None else self._sources.check(wish.destination)
        options = wish.options()
        version = self._models.choose(options.model)
        order = order_of(options, None, version.card)
        check_dicom(order.formats, version.card)
        archive = ArchiveOrder(source=source, destination=destination)
        order = order.model_copy(update={"archive": archive})
        new = NewJob(
            owner=owner_of(request),
            model=version.label,
            order=order.model_dump(mode="json"),
            idempotency_key=idempotency_key_of(request),
            traceparent=current_traceparent(),
        )
        which = SeriesName(study=wish.study, series=wish.series).model_dump_json()
        content = sha256(f"{order.model_dump_json()}{which}".encode()).hexdigest()
        job = await reserved(self._store, self._settings, new)
        if isinstance(job, Job):
            check_same(self._store, job, content)
            return accepted(request, job)
        try:
            await run_sync(self._take_in, job, which, content)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await run_sync(self._runner.forget, job)
            raise
        self._runner.wake()
        taken = await run_sync(self._store.get, job)
        if taken is None:
            raise Problem(404, NO_SUCH_JOB)
        return accepted(request, taken)

    def _take_in(self, job: str, which: str, content: str) -> None:
        with self._files.writing(job, WHICH) as file:
            file.write(which.encode())
        self._store.enqueue(job, [[SERIES]], content, self._settings.job_keep_s)
