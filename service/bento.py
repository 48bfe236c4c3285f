"""The service as BentoML hosts, starts and builds it: ``bentoml serve``.

BentoML's supervisor imports this module as well, only to start the process that serves. Whatever
takes time to import is therefore imported where it is used.
"""

# BentoML is read as untyped: its decorators and its base class are Any to mypy.
# mypy: disable-error-code="misc, untyped-decorator"

from __future__ import annotations

import functools
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import bentoml
import numpy as np
from bentoml.exceptions import BentoMLException

from seg.errors import ConfigError
from service.hosting.container_image import BASE, ServiceImage
from service.hosting.supervisor import (
    end_with_supervisor,
    has_several_workers,
    lead,
    share_numbers,
    take_a_card,
    tell_what_is_shared,
    watch_closely,
)
from service.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from service.hosting.ending import Ending
    from service.jobs.routes import Jobs
    from service.models.registry import ModelRegistry

NAME = "segmenter"
NATIVE_ROUTES = ("/schema.json", "/docs.json")
"""What BentoML answers itself: the descriptions that its clients read."""


@functools.cache
def served_models() -> ModelRegistry:
    """The models of this process."""
    from service.models.registry import ModelRegistry
    from service.observability.metrics import Metrics

    return ModelRegistry(Settings.from_environment(), Metrics())


@functools.cache
def served_jobs() -> Jobs:
    """The jobs of this process."""
    from service.jobs.routes import Jobs

    return Jobs.of(served_models())


@functools.cache
def ending() -> Ending:
    """The end of this process."""
    from service.hosting.ending import Ending

    return Ending(served_models().cancel)


@asynccontextmanager
async def _more_doors(public: ASGIApp) -> AsyncIterator[None]:
    """Where else than by HTTP the application is asked, for as long as it serves."""
    settings = Settings.from_environment()
    if "oip-grpc" not in settings.front_ends:
        yield
        return
    from service.frontends.oip.grpc_server import listening

    async with listening(public, settings, shared=has_several_workers(NAME)):
        yield


class HostedService(bentoml.Service):
    """A BentoML service whose own application stands in front of BentoML's.

    A mounted application would come behind BentoML's /livez, /readyz and /metrics, and inside a
    timer that BentoML keeps for every request for as long as its timeout.
    """

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """The application of a serving process."""
        from service.app import create_app
        from service.hosting.bounded_http import bound_connections
        from service.middleware.accounting import UNKNOWN_ROUTE
        from service.observability.failure_kinds import PROCESS_DIED
        from service.observability.logs import configure_logging

        configure_logging()
        # From 0 on, and never less than before, or Prometheus would take it for a new beginning.
        served_models().metrics.error(UNKNOWN_ROUTE, PROCESS_DIED, bound_connections())
        native = bentoml.Service.to_asgi(self, is_main)
        public = create_app(
            served_models(),
            dict.fromkeys(NATIVE_ROUTES, native),
            jobs=served_jobs(),
            guarded=True,
        )

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "lifespan":
                await public(scope, receive, send)
                return
            async with _more_doors(public):
                await native(scope, receive, send)

        return app


@bentoml.service(
    name=NAME,
    service_class=HostedService,
    # No distribution is named: for one it knows, BentoML installs a compiler, git and gnupg, while
    # all requirements come as wheels.
    image=ServiceImage(base_image=BASE, distro="", python_version="3.11"),
    http={"host": "127.0.0.1"},  # other machines need --host 0.0.0.0, and then a key
    metrics={"enabled": False},  # they would name raw paths
    logging={"access": {"enabled": False}},
)
class Segmenter:
    """Image in, mask out."""

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """Say that there is nothing to serve before a process is started for it."""
        from service.hosting.stand_in import start_deputy
        from service.models.folder import check_packages
        from service.observability.logs import configure_logging

        watch_closely()
        try:
            settings = Settings.from_environment()
            if settings.oidc_issuer:
                from service.middleware.identity_tokens import checked_identity

                checked_identity(settings)
            if settings.audit_log:
                from service.observability.audit import AuditLog

                AuditLog(settings.audit_log)
            if settings.url_allow:
                from service.requests.addresses import AllowList

                AllowList.parsed(settings.url_allow)
            if settings.path_prefix:
                from service.requests.proxies import check_prefix

                check_prefix(settings.path_prefix)
            if "oip-grpc" in settings.front_ends:
                from service.frontends.oip.grpc_server import check_listening

                check_listening(settings)
            check_packages(settings)
        except ConfigError as error:
            raise BentoMLException(str(error)) from error
        configure_logging()
        lead()
        is_one_of_several = has_several_workers(NAME)
        if is_one_of_several:
            share_numbers()
            tell_what_is_shared()
        start_deputy(counted_once=is_one_of_several)

    @bentoml.on_startup
    def start(self) -> None:
        """Begin to load the models, and to take up jobs when they are ready."""
        from service.observability.tracing import start_tracing

        end_with_supervisor()
        ending().begin_by(signal.SIGTERM, signal.SIGINT)
        ending().begin_because(served_models().why_dead)
        start_tracing()
        take_a_card(bentoml.server_context.worker_index or 1)
        served_models().start()
        served_jobs().start()

    @bentoml.on_shutdown
    def stop(self) -> None:
        """Finish what runs, and put jobs back."""
        ending().begin()
        served_jobs().close()
        served_models().close()
        from service.observability.tracing import stop_tracing

        stop_tracing()

    @bentoml.api
    def infer_patches(self, patches: np.ndarray) -> np.ndarray:
        """Logits of prepared patches ``(b, c, *patch)``, for clients of BentoML.

        Requests over HTTP are answered by `service.routes.patches`, which bounds what they send.
        """
        models = served_models()
        with models.memory.leased(models.choose()) as model:
            return model.infer(patches, model.backend())
