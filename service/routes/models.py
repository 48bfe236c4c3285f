"""``/models``: which models there are, in which versions, and what became of each."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from seg.client.schemas import (
    ModelEntry,
    ModelListing,
    Runtime,
    ServedCard,
    UnreadableFolder,
    VersionSummary,
)
from seg.inference.backends.ways import way_of
from seg.model_package import CASE_PICTURES
from service.answers.streams import WholeFile
from service.models.registry import ModelRegistry
from service.models.rules import why_not
from service.models.versions import LATEST, ModelVersion, latest, named, newest_first
from service.observability.metrics import Collector, GaugeMetricFamily
from service.preferences import whole_list
from service.problems.response import Problem
from service.requests.formats import formats_for
from service.requests.proxies import link


class Catalogue:
    """The routes that tell of models."""

    def __init__(self, models: ModelRegistry) -> None:
        self._models = models
        models.metrics.collect_from(_ModelMetrics(models))

    def routes(self) -> list[Route]:
        """``/model`` and what lies below ``/models``."""
        return [
            Route("/model", self.card, methods=["GET"]),
            Route("/models", self.listing, methods=["GET"]),
            Route("/models/{name}", self.model, methods=["GET"]),
            Route("/models/{name}/versions/{version}", self.version, methods=["GET"]),
            Route(
                "/models/{name}/versions/{version}/example/{number}",
                self.example,
                methods=["GET"],
            ),
            Route(
                "/models/{name}/versions/{version}/cases/{rank}/{what}",
                self.case,
                methods=["GET"],
            ),
        ]

    async def card(self, request: Request) -> Response:
        """``GET /model``: the card of what answers now, and what runs it here."""
        version = self._models.choose(request.query_params.get("model"))
        return as_json(_card_of(version))

    async def listing(self, request: Request) -> Response:
        """``GET /models``: all models, and folders that hold none."""
        names = sorted({version.card.name for version in self._models.versions()})
        listing = ModelListing(
            default=self._models.default_name(),
            models=tuple(self.entry(name, request.scope) for name in names),
            unreadable=tuple(
                UnreadableFolder(folder=folder, reason=reason)
                for folder, reason in self._models.unreadable().items()
            ),
        )
        return as_json(listing)

    async def model(self, request: Request) -> Response:
        """``GET /models/{name}``: the versions of a model, the highest first; a page to people."""
        name = request.path_params["name"]
        named(f"{name}:{LATEST}", self._models.versions())
        if _is_browser(request):
            page = link(request.scope, "page", "model.html")
            return RedirectResponse(f"{page}?{urlencode({'model': name})}", 303)
        return as_json(self.entry(name, request.scope))

    async def version(self, request: Request) -> Response:
        """``GET /models/{name}/versions/{version}``: a card; ``latest`` is a version as well."""
        return as_json(_card_of(self._meant(request)))

    async def example(self, request: Request) -> Response:
        """``GET /models/{name}/versions/{version}/example/{number}``: a file to try it with."""
        version, number = self._meant(request), request.path_params["number"]
        example = version.card.example
        files = example.files if example else ()
        if not number.isascii() or not number.isdecimal() or int(number[:9]) >= len(files):
            raise Problem(404, "this model carries no such example")
        file = version.folder / files[int(number)]
        return WholeFile(file, media_type="application/octet-stream")

    async def case(self, request: Request) -> Response:
        """``GET /models/{name}/versions/{version}/cases/{rank}/{what}``: a test case, drawn."""
        version = self._meant(request)
        rank, what = request.path_params["rank"], request.path_params["what"]
        files = {
            (case.rank, name): file
            for case in version.card.pictured_cases
            for name, file in zip(CASE_PICTURES, case.files, strict=True)
        }
        if (rank, what) not in files:
            raise Problem(404, "this model shows no such case")
        return WholeFile(version.folder / files[rank, what], media_type="image/webp")

    def _meant(self, request: Request) -> ModelVersion:
        """The version that a path names.

        Raises:
            Problem: 404, there is none.
        """
        name, wanted = request.path_params["name"], request.path_params["version"]
        meant = named(f"{name}:{wanted}", self._models.versions())
        found = latest(meant) if wanted == LATEST else meant[0]
        if found is None:
            raise Problem(404, f"no version of model {name} is proven")
        return found

    def entry(self, name: str, scope: Scope) -> ModelEntry:
        """A model with its versions, the highest first."""
        versions = [v for v in newest_first(self._models.versions()) if v.card.name == name]
        current, rule = self._models.live(name), self._models.rules.of(name)
        return ModelEntry(
            name=name,
            latest=current.card.version if current else None,
            pinned=rule.pinned,
            candidate=rule.candidate,
            share=rule.share,
            reason=why_not(versions, rule),
            versions=tuple(_summary(version, scope) for version in versions),
        )


def _is_browser(request: Request) -> bool:
    """Whether a person follows a link: programs name JSON, or nothing."""
    return "text/html" in (whole_list(request.headers, "accept") or "")


def _summary(version: ModelVersion, scope: Scope) -> VersionSummary:
    card = version.card
    return VersionSummary(
        version=card.version,
        state=version.state,
        reason=version.reason or None,
        in_memory=version.model is not None,
        created=card.provenance.created,
        dims=card.input.dims,
        channels=tuple(channel.name for channel in card.input.channels),
        classes=tuple(entry.name for entry in card.classes),
        url=link(scope, "models", card.name, "versions", card.version),
    )


def _card_of(version: ModelVersion) -> ServedCard:
    """A card with ``runtime``: what runs it here, as far as it is in memory."""
    runtime: dict[str, Any] = {
        "state": version.state,
        "reason": version.reason or None,
        "golden_error": version.golden_error,
        "formats": tuple(formats_for(version.card.input.dims)),
    }
    model = version.model
    if model:
        runtime |= {
            "provider": model.scheduler.backend.provider,
            "precision": way_of(model.scheduler.backend).precision,
            "overlap": model.package.card.input.overlap,
            "fallback": model.fallback,
            "variant": model.variant,
            "variants": tuple(rung.variant for rung in model.chooser.rungs),
            "runners": model.scheduler.policy.runners,
            "batch_size": model.scheduler.batch_size,
            "batch_wait_ms": 1000 * model.scheduler.policy.wait_s,
            "batch_times": asdict(model.batch_times),
        }
    return ServedCard.model_construct(**dict(version.card), runtime=Runtime(**runtime))


def as_json(
    content: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON document as a response."""
    text = content.model_dump_json() + "\n"
    return Response(text, status, headers, media_type="application/json")


class _ModelMetrics(Collector):
    """Versions and their states; names and versions come from packages, not from clients."""

    def __init__(self, models: ModelRegistry) -> None:
        self._models = models

    def collect(self) -> Iterator[GaugeMetricFamily]:
        info = GaugeMetricFamily(
            "seg_model_info",
            "1 for each version of a model; fault says why a broken one is.",
            labels=("model", "version", "state", "fault"),
        )
        live = GaugeMetricFamily(
            "seg_model_latest", "1 for the version that requests get.", labels=("model", "version")
        )
        versions = self._models.versions()
        for version in versions:
            info.add_metric((*version.key, version.state, version.fault or ""), 1)
        for name in sorted({version.card.name for version in versions}):
            current = self._models.live(name)
            if current:
                live.add_metric(current.key, 1)
        unreadable = GaugeMetricFamily(
            "seg_model_folders_unreadable", "Folders whose model.json cannot be read."
        )
        unreadable.add_metric((), len(self._models.unreadable()))
        in_memory = GaugeMetricFamily("seg_models_in_memory", "Models in memory.")
        in_memory.add_metric((), len(self._models.memory.models()))
        yield from (info, live, unreadable, in_memory)
