"""The routes: series that are asked for, and series that are sent."""

from hashlib import sha256

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.frontends.dicomweb.stow import Forwarded
from service.frontends.dicomweb.wishes import wish_of
from service.jobs.archived import SERIES, WHICH, SeriesName
from service.jobs.deciding import check_dicom
from service.jobs.intake import check_same, coming_whole, request_text, reserved
from service.jobs.records import Job
from service.jobs.routes import Jobs, accepted, begun, new_job
from service.models.registry import ModelRegistry
from service.requests.order import ArchiveOrder, order_of

STOW = ("/dicom-web/studies", "/dicom-web/studies/{study}")


class DicomWeb:
    """Jobs on series of archives."""

    def __init__(self, models: ModelRegistry, jobs: Jobs) -> None:
        self._models = models
        self._settings = models.settings
        self._store, self._files, self._runner = jobs.store, jobs.files, jobs.runner
        self._destinations = jobs.runner.archived.destinations
        self._sources = self._destinations.sources
        self._forwarded = Forwarded(models, jobs)

    def routes(self) -> list[Route]:
        """For an application."""
        return [
            Route("/dicomweb/jobs", self.submit, methods=["POST"]),
            *(Route(path, self._forwarded.store, methods=["POST"]) for path in STOW),
        ]

    async def submit(self, request: Request) -> Response:
        """``POST /dicomweb/jobs``: fetch a series, segment it, store the result."""
        wish = await wish_of(request)
        source = self._sources.check(wish.source)
        destination = (
            source if wish.destination is None else self._destinations.check(wish.destination)
        )
        options = wish.options()
        version = self._models.choose(options.model)
        order = order_of(options, None, version.card)
        check_dicom(order.formats, version.card)
        archive = ArchiveOrder(source=source, destination=destination)
        order = order.model_copy(update={"archive": archive})
        which = SeriesName(study=wish.study, series=wish.series).model_dump_json()
        content = sha256(f"{request_text(order, options.model)}{which}".encode()).hexdigest()
        job = await reserved(self._store, self._settings, new_job(request, version.label, order))
        if isinstance(job, Job):
            check_same(self._store, job, content)
            return accepted(request, job)
        async with coming_whole(self._store, self._runner.forget, job):
            await run_sync(self._take_in, job, which, content)
        return await begun(request, self._store, self._runner, job)

    def _take_in(self, job: str, which: str, content: str) -> None:
        with self._files.writing(job, WHICH) as file:
            file.write(which.encode())
        self._store.enqueue(job, [[SERIES]], content, self._settings.job_keep_s)
