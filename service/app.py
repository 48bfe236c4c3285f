"""All public routes, as a Starlette application.

The event loop reads headers and streams bodies; images are decoded, segmented and encoded in
threads, so that a large one does not hold up a probe.
"""

import asyncio
import math
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import BinaryIO

import anyio
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from seg.images import content_of
from service import problems
from service.admission import Admission
from service.answers import AnswerHead, Work, answer
from service.catalogue import Catalogue
from service.edge import CLIENT_CLOSED_REQUEST, REQUEST_ID, BodyLimit, Edge
from service.elastic import VARIANT_HEADER, Ask, Rung, ask_of
from service.faults import note_fault
from service.gate import Gate
from service.jobs.files import FilesUnavailableError
from service.jobs.routes import JobRoutes, Jobs
from service.logs import LOGGER, where_it_failed
from service.metrics import MEDIA_TYPE as METRICS_MEDIA_TYPE
from service.model import ReadyModel
from service.model_memory import NotReadyError
from service.openapi import OpenApi
from service.options import options_of
from service.orders import Order, order_of
from service.page.routes import page_routes
from service.picture import picture_of
from service.problems import Problem
from service.quality import QUALITY_HEADER
from service.registry import ModelRegistry
from service.scheduler import BatchingPolicy
from service.shared_backend import RequestCancelledError
from service.streams import streamed
from service.tracing import past_span
from service.uploads import IN_MEMORY, Images, Uploads
from service.urls import AllowList, UrlImages

MODEL_HEADER = "X-Segmentation-Model"
"""``name:version`` of the model that answered, percent-encoded."""

FAILED_HEADER = "X-Segmentation-Failed"
"""How many of several images have no mask."""


def create_app(
    models: ModelRegistry,
    native: Mapping[str, ASGIApp] | None = None,
    *,
    jobs: Jobs | None = None,
    guarded: bool = False,
) -> ASGIApp:
    """The application that serves models.

    Args:
        models: are started by the caller.
        native: paths that another application answers, within the same limits and logs.
        jobs: are started by the caller; None where none are taken.
        guarded: requests come over a network: keys and the limits of each client count.
    """
    settings = models.settings
    urls = UrlImages(AllowList.parsed(settings.url_allow), settings.upload_idle_s)
    public = _PublicRoutes(models, Uploads(urls, settings.timeout_s, settings.max_body_bytes))
    description = OpenApi()
    routes = [
        Route("/segment", public.segment, methods=["POST"]),
        *(JobRoutes(models, jobs, urls).routes() if jobs else ()),
        *Catalogue(models).routes(),
        Route("/livez", public.livez, methods=["GET"]),
        Route("/readyz", public.readyz, methods=["GET"]),
        Route("/metrics", public.metrics, methods=["GET"]),
        Route("/picture", public.picture, methods=["POST"]),
        *page_routes(),
        *(Route(path, app) for path, app in (native or {}).items()),
        description.route(),
    ]
    description.describe(routes)
    app = Starlette(
        routes=routes,
        exception_handlers={
            HTTPException: problems.on_http_exception,
            **dict.fromkeys(problems.STATUS_OF_ERROR, problems.on_error),
            NotReadyError: _on_not_ready,
            FilesUnavailableError: _on_files_unavailable,
            OSError: problems.on_os_error,
            Exception: problems.on_error,
        },
    )
    app.router.redirect_slashes = False
    public_app: ASGIApp = Gate(app, settings) if guarded else app
    if settings.cors_origins:
        public_app = _open_to(settings.cors_origins, public_app)
    return Edge(
        public_app,
        routes=routes,
        limits={"/jobs": BodyLimit(settings.max_job_bytes, "SEG_MAX_JOB_MB")},
        usual_limit=BodyLimit(settings.max_body_bytes, "SEG_MAX_BODY_MB"),
        metrics=models.metrics,
    )


def _open_to(origins: str, app: ASGIApp) -> ASGIApp:
    """Pages of these origins may ask, and read what the headers of an answer say."""
    return CORSMiddleware(
        app,
        allow_origins=[origin.strip() for origin in origins.split(",")],
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "X-API-Key", "Content-Type", "Idempotency-Key", REQUEST_ID],
        expose_headers=[
            *(REQUEST_ID, MODEL_HEADER, VARIANT_HEADER, QUALITY_HEADER, FAILED_HEADER),
            *("Content-Disposition", "Location", "Retry-After"),
        ],
    )


async def _on_not_ready(request: Request, error: Exception) -> Response:
    note_fault(request.scope, "not_ready")
    return problems.problem_response(503, str(error), {"Retry-After": "1"})


async def _on_files_unavailable(_: Request, error: Exception) -> Response:
    LOGGER.error("jobs", extra={"fields": where_it_failed(error)})
    detail = "the files of jobs cannot be reached now; try again later"
    return problems.problem_response(503, detail, {"Retry-After": "5"})


class _PublicRoutes:
    def __init__(self, models: ModelRegistry, uploads: Uploads) -> None:
        self._models = models
        self._uploads = uploads
        self._metrics = models.metrics
        self._admission = Admission(models.settings.max_requests)
        self._threads: anyio.CapacityLimiter | None = None
        self._metrics.watch(
            waiting=lambda: sum(m.scheduler.waiting for m in models.memory.models()),
            active=lambda: self._admission.active,
            ready=lambda: models.is_ready,
        )

    async def segment(self, request: Request) -> Response:
        """``POST /segment``: an image in, its mask out."""
        ask = ask_of(request.query_params)
        options = options_of(request.query_params)
        version = self._models.choose(options.model)
        order = order_of(options, request.headers.get("accept"), version.card)
        self._admission.require_place(self._side_by_side)
        async with self._uploads.images_of(request) as images:
            with self._admission.admitted(self._side_by_side):
                async with self._models.memory.lease(version) as model:
                    return await self._segment(request, model, images, order, ask)

    async def _segment(
        self, request: Request, model: ReadyModel, images: Images, order: Order, ask: Ask
    ) -> Response:
        model.chooser.refuse_what_is_late(ask, self._admission.active)
        backend = model.backend()
        timeout_s = min(self._models.settings.timeout_s, ask.deadline_s or math.inf)
        watch = asyncio.create_task(_cancel_when_useless(request, backend.cancel, timeout_s))
        queued = perf_counter()
        body = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  closed when it is sent

        def work() -> tuple[AnswerHead, Rung]:
            begun = perf_counter()
            waited = begun - queued
            past_span("wait", (queued, begun))
            model.metrics.spent("wait", waited)
            running = int(self._limiter(model.scheduler.policy).borrowed_tokens)
            rung = model.chooser.choose(ask, self._admission.active, running, waited)
            contents = [[partial(content_of, file) for file in channels] for channels in images]
            start = perf_counter()
            head = answer(Work(model, order, backend, rung), contents, body)
            model.chooser.took(rung, backend.patches, perf_counter() - start, running)
            return head, rung

        try:
            head, rung = await run_sync(work, limiter=self._limiter(model.scheduler.policy))
        except RequestCancelledError:
            if await watch:
                return Response(status_code=CLIENT_CLOSED_REQUEST)
            raise Problem(
                504,
                f"the segmentation took longer than {timeout_s:g} s and was stopped; POST /jobs "
                "takes longer ones",
            ) from None
        finally:
            watch.cancel()
        model.metrics.answered_by(rung.variant)
        headers = {
            "Content-Disposition": f'inline; filename="{head.filename}"',
            MODEL_HEADER: model.label,
            VARIANT_HEADER: rung.header,
        }
        if head.quality:
            headers[QUALITY_HEADER] = head.quality
        if head.failed:
            headers[FAILED_HEADER] = str(head.failed)
        size = body.tell()
        body.seek(0)
        if size <= IN_MEMORY:
            return Response(body.read(), media_type=head.media_type, headers=headers)
        return streamed(body, size, head.media_type, headers)

    async def picture(self, request: Request) -> Response:
        """``POST /picture``: an image in, the same image as a browser can show it out."""
        version = self._models.choose(request.query_params.get("model"))
        self._admission.require_place(self._side_by_side)
        async with self._uploads.images_of(request) as images:
            if len(images) > 1:
                raise Problem(422, "a picture is made of one image: fields named image")
            with self._admission.admitted(self._side_by_side):
                async with self._models.memory.lease(version) as model:
                    return await self._picture(request, model, images[0])

    async def _picture(
        self, request: Request, model: ReadyModel, channels: Sequence[BinaryIO]
    ) -> Response:
        timeout_s = self._models.settings.timeout_s
        useless = threading.Event()
        watch = asyncio.create_task(_cancel_when_useless(request, useless.set, timeout_s))
        dims = model.package.card.input.dims
        try:
            body, media_type = await run_sync(
                partial(picture_of, channels, dims, model.limits, useless.is_set),
                limiter=self._limiter(model.scheduler.policy),
            )
        except RequestCancelledError:
            if await watch:
                return Response(status_code=CLIENT_CLOSED_REQUEST)
            raise Problem(
                504, f"the picture took longer than {timeout_s:g} s and was stopped"
            ) from None
        finally:
            watch.cancel()
        return Response(body, media_type=media_type)

    async def livez(self, _: Request) -> Response:
        """``GET /livez``: the event loop turns."""
        return Response("alive\n", media_type="text/plain")

    async def readyz(self, _: Request) -> Response:
        """``GET /readyz``: something serves."""
        self._models.require_ready()
        return Response("ready\n", media_type="text/plain")

    async def metrics(self, _: Request) -> Response:
        """``GET /metrics``: for Prometheus."""
        return Response(self._metrics.exposition(), headers={"Content-Type": METRICS_MEDIA_TYPE})

    @property
    def _side_by_side(self) -> int:
        return int(self._threads.total_tokens) if self._threads else 1

    def _limiter(self, policy: BatchingPolicy) -> anyio.CapacityLimiter:
        """Bounds the images in memory; enough of them to fill every batch."""
        if self._threads is None:
            fitting = policy.runners * policy.batch_size + 2
            self._threads = anyio.CapacityLimiter(self._models.settings.threads or fitting)
        return self._threads


async def _cancel_when_useless(
    request: Request, cancel: Callable[[], None], timeout_s: float
) -> bool:
    """Cancel when the client leaves or the time is up; whether it was the client."""
    left = False
    with anyio.move_on_after(timeout_s):
        while (await request.receive())["type"] != "http.disconnect":
            pass
        left = True
    cancel()
    return left
