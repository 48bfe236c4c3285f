"""All public routes, as a Starlette application.

The event loop reads headers and streams bodies; images are decoded, segmented and encoded in
threads, so that a large one does not hold up a probe.
"""

from collections.abc import Awaitable, Callable, Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from service.answers.quality_header import OBJECTS_HEADER, QUALITY_HEADER
from service.errors import NotReadyError, let_go
from service.frontends.dicomweb.routes import STOW, DicomWeb
from service.frontends.labelstudio.routes import LabelStudio
from service.frontends.monailabel.routes import MonaiLabel
from service.frontends.oip.routes import ROOT as PROTOCOL
from service.frontends.oip.routes import InferenceProtocol
from service.frontends.plain_refusals import PlainRefusals
from service.jobs.database import DatabaseUnavailableError
from service.jobs.files import FilesUnavailableError
from service.jobs.routes import JobRoutes, Jobs
from service.middleware.access import LABEL_STUDIO, Gate
from service.middleware.accounting import (
    CLIENT_CLOSED_REQUEST,
    MODEL_HEADER,
    REQUEST_ID,
    BodyLimit,
    Edge,
    Limit,
)
from service.models.registry import ModelRegistry
from service.models.variants import VARIANT_HEADER
from service.observability.audit import AuditLog
from service.observability.failure_kinds import note_fault
from service.observability.logs import LOGGER, where_it_failed
from service.openapi.document import OpenApi
from service.page.routes import page_routes
from service.problems import response as problems
from service.requests.addresses import AllowList, UrlImages
from service.requests.proxies import BehindProxy
from service.requests.uploads import Uploads
from service.routes.model_changes import ModelChanges
from service.routes.models import Catalogue
from service.routes.patches import PatchRoutes
from service.routes.segment import FAILED_HEADER, PRECISION_HEADER, PublicRoutes
from service.studio.all_routes import OPERATIONS, SCHEMAS, studio_routes
from service.studio.trainings import Trainings

_Handler = Callable[[Request, Exception], Awaitable[Response]]


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
    public = PublicRoutes(models, Uploads(urls, settings.timeout_s, settings.max_body_bytes))
    description = OpenApi()
    catalogue = Catalogue(models)
    routes = [
        Route("/segment", public.segment, methods=["POST"]),
        *(JobRoutes(models, jobs, urls).routes() if jobs else ()),
        *catalogue.routes(),
        *ModelChanges(models, catalogue).routes(),
        Route("/livez", public.livez, methods=["GET"]),
        Route("/readyz", public.readyz, methods=["GET"]),
        Route("/metrics", public.metrics, methods=["GET"]),
        Route("/picture", public.picture, methods=["POST"]),
        Route("/infer_patches", PatchRoutes(models, public).infer, methods=["POST"]),
        *page_routes(has_studio=settings.studio is not None),
        *(Route(path, app, methods=["GET"]) for path, app in (native or {}).items()),
        description.route(),
    ]
    trainings = Trainings.offered(models)
    if settings.studio:
        routes += studio_routes(models, public, settings.studio, trainings)
    # a front end is described by the program that it is for
    description.describe(routes, OPERATIONS, SCHEMAS)
    if "monailabel" in settings.front_ends:
        routes += MonaiLabel(models, public, trainings).routes()
    if "oip" in settings.front_ends:
        routes += InferenceProtocol(models, public).routes()
    if "oip-grpc" in settings.front_ends:
        from service.frontends.oip.grpc_routes import GrpcProtocol

        routes += GrpcProtocol(models, public).routes()
    if "label-studio" in settings.front_ends:
        routes += LabelStudio(models, public).routes()
    if "dicomweb" in settings.front_ends and jobs:
        routes += DicomWeb(models, jobs).routes()
    app = Starlette(
        routes=routes,
        exception_handlers={kind: _letting_go(handler) for kind, handler in _HANDLERS.items()},
    )
    app.router.redirect_slashes = False
    public_app: ASGIApp = Gate(app, settings) if guarded else app
    if settings.cors_origins:
        public_app = _open_to(settings.cors_origins, public_app, bool(settings.front_ends))
    job_bytes = Limit(settings.max_job_bytes, "SEG_MAX_JOB_MB")
    usual_time = Limit(settings.timeout_s, "SEG_TIMEOUT_S")
    edge: ASGIApp = Edge(
        public_app,
        routes=routes,
        limits={
            "/jobs": BodyLimit(job_bytes, Limit(settings.job_timeout_s, "SEG_JOB_TIMEOUT_S")),
            **dict.fromkeys(STOW, BodyLimit(job_bytes, usual_time)),
            "/models/{name}": BodyLimit(
                Limit(settings.max_model_bytes, "SEG_MAX_MODEL_MB"), usual_time
            ),
        },
        usual_limit=BodyLimit(Limit(settings.max_body_bytes, "SEG_MAX_BODY_MB"), usual_time),
        metrics=models.metrics,
        audit=AuditLog(settings.audit_log) if settings.audit_log else None,
    )
    if "oip" in settings.front_ends:
        edge = PlainRefusals(edge, PROTOCOL)
    if "label-studio" in settings.front_ends:
        edge = PlainRefusals(edge, LABEL_STUDIO, 'Basic realm="seg: the password is a key"')
    return BehindProxy(edge, settings.path_prefix) if settings.proxy else edge


def _open_to(origins: str, app: ASGIApp, front_ends: bool) -> ASGIApp:
    """Pages of these origins may ask, and read what the headers of an answer say."""
    return CORSMiddleware(
        app,
        allow_origins=[origin.strip() for origin in origins.split(",")],
        allow_methods=["GET", "POST", "DELETE", *(["PUT", "HEAD"] if front_ends else ())],
        allow_headers=["Authorization", "X-API-Key", "Content-Type", "Idempotency-Key", REQUEST_ID],
        expose_headers=[
            *(REQUEST_ID, MODEL_HEADER, VARIANT_HEADER, PRECISION_HEADER, QUALITY_HEADER),
            *(OBJECTS_HEADER, FAILED_HEADER, "Content-Disposition", "Location", "Retry-After"),
        ],
    )


def _letting_go(handler: _Handler) -> _Handler:
    """Bodies and images that a route held when it failed are free once it is answered."""

    async def handled(request: Request, error: Exception) -> Response:
        response = await handler(request, error)
        let_go(error)
        return response

    return handled


async def _on_not_ready(request: Request, error: Exception) -> Response:
    note_fault(request.scope, "not_ready")
    return problems.problem_response(503, str(error), {"Retry-After": "1"})


async def _on_left(_: Request, error: Exception) -> Response:
    """For a client that left before its body had come: nobody reads this, and nothing failed."""
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _on_database_unavailable(_: Request, error: Exception) -> Response:
    LOGGER.error("jobs", extra={"fields": where_it_failed(error)})
    detail = "the database of jobs does not answer now; try again later"
    return problems.problem_response(503, detail, {"Retry-After": "2"})


async def _on_files_unavailable(_: Request, error: Exception) -> Response:
    LOGGER.error("jobs", extra={"fields": where_it_failed(error)})
    detail = "the files of jobs cannot be reached now; try again later"
    return problems.problem_response(503, detail, {"Retry-After": "5"})


_HANDLERS: Mapping[type[Exception], _Handler] = {
    HTTPException: problems.on_http_exception,
    **dict.fromkeys(problems.STATUS_OF_ERROR, problems.on_error),
    NotReadyError: _on_not_ready,
    ClientDisconnect: _on_left,
    DatabaseUnavailableError: _on_database_unavailable,
    FilesUnavailableError: _on_files_unavailable,
    OSError: problems.on_os_error,
    Exception: problems.on_error,
}
