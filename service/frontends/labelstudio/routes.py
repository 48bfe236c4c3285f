"""The routes that Label Studio calls of a machine learning backend, below ``/label-studio``.

``/label-studio/...`` asks the model that answers by default, ``/label-studio/NAME/...`` that one.
"""

import io
import json
import tempfile
from asyncio import sleep
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seg.errors import SegError
from seg.images import Image
from service.answers.answer import Work, segmented
from service.decoding.image_decoder import Check, ImageDecoder
from service.errors import DecodingFullError, RequestCancelledError, SchedulerClosedError
from service.frontends.labelstudio.annotations import Annotations
from service.frontends.labelstudio.label_config import LabelConfig
from service.frontends.labelstudio.messages import (
    SentAnnotation,
    SentEvent,
    SentPredict,
    SentProject,
    SentSetup,
    SentTask,
    parsed,
)
from service.frontends.labelstudio.regions import regions_of
from service.frontends.labelstudio.tasks import TaskImages
from service.frontends.monailabel.numbering import Numbering
from service.middleware.access import LABEL_STUDIO as ROOT
from service.middleware.accounting import MODEL_HEADER
from service.middleware.caller import name_of
from service.models.registry import ModelRegistry
from service.models.versions import ModelVersion
from service.problems.response import Problem, status_and_detail
from service.requests.json_bodies import JsonBodies
from service.requests.options import RequestOptions
from service.requests.order import order_of
from service.requests.uploads import IN_MEMORY
from service.routes.segment import PublicRoutes, at_hand
from service.studio.drawn_polygons import from_shapes
from service.studio.on_disk.classes import DrawnClasses
from service.studio.on_disk.drawing import Author, DrawnMask
from service.studio.on_disk.studio_folder import StudioFolder
from service.studio.open_images import content_of

MOST_ANSWERED = 64_000_000
"""Bytes of the regions of all tasks of a request."""
PASSING = frozenset({408, 429, 503})
"""Statuses of what may succeed when all is asked again."""
DRAWN = frozenset({"ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED"})
DELETED = frozenset({"ANNOTATION_DELETED", "ANNOTATIONS_DELETED"})


class LabelStudio:
    """Its contract, on top of what ``POST /segment`` does."""

    def __init__(self, models: ModelRegistry, public: PublicRoutes) -> None:
        settings = models.settings
        self._models = models
        self._public = public
        self._images = TaskImages(settings)
        self._bodies = JsonBodies(settings.timeout_s)
        folder = settings.drawn_folder
        self._kept = (
            Annotations(StudioFolder(folder, models.settings.max_studio_bytes)) if folder else None
        )

    def routes(self) -> list[Route]:
        """For an application."""
        found = [Route(f"{ROOT}/", self.health, methods=["GET"])]
        for path in (ROOT, f"{ROOT}/{{name}}"):
            found += [
                Route(f"{path}/health", self.health, methods=["GET"]),
                Route(f"{path}/setup", self.setup, methods=["POST"]),
                Route(f"{path}/predict", self.predict, methods=["POST"]),
                Route(f"{path}/webhook", self.webhook, methods=["POST"]),
                Route(f"{path}/metrics", self.metrics, methods=["GET"]),
            ]
        return [*found, Route(f"{ROOT}/{{name}}/", self.health, methods=["GET"])]

    async def health(self, request: Request) -> Response:
        """``GET /``, ``GET /health``: there is a model that answers."""
        self._version(request)
        return JSONResponse({"status": "UP", "model_class": "seg"})

    async def metrics(self, _: Request) -> Response:
        """``GET /metrics``: nothing; Prometheus asks elsewhere."""
        return JSONResponse({})

    async def setup(self, request: Request) -> Response:
        """``POST /setup``: a project asks whether we can answer it."""
        async with self._bodies.whole(request) as body:
            asked = await run_sync(parsed, body, SentSetup)
            version = self._version(request)
            if asked.extra_params:
                raise Problem(422, "this backend takes no extra parameters; leave them empty")
            config = await run_sync(LabelConfig.parsed, asked.label_config)
            config.label_of(version.card.classes)
        return JSONResponse({"model_version": version.label})

    async def predict(self, request: Request) -> Response:
        """``POST /predict``: the regions of each task; of one that fails, why."""
        async with self._bodies.whole(request) as body:
            asked = await run_sync(parsed, body, SentPredict)
            version = self._version(request)
            config = await run_sync(LabelConfig.parsed, asked.label_config)
            if (asked.params or {}).get("context"):
                raise Problem(422, "this model draws by itself and takes no clicks")
            results = await self._predictions(request, version, asked.tasks, config)
        content = b'{"results": [' + b", ".join(results) + b"]}"
        headers = {MODEL_HEADER: version.label}
        return Response(content, headers=headers, media_type="application/json")

    async def _predictions(
        self,
        request: Request,
        version: ModelVersion,
        tasks: Sequence[dict[str, Any]],
        config: LabelConfig,
    ) -> list[bytes]:
        """The JSON of each task's answer.

        Raises:
            Problem: all failed, or one that may succeed later; 413, they are too long together.
        """
        label_of = config.label_of(version.card.classes)
        results: list[bytes] = []
        failed: list[Problem] = []
        for task in tasks:
            try:
                told = await self._predicted(request, version, task, config, label_of)
            except (Problem, SegError) as error:
                problem = _as_problem(error)
                if problem.status_code in PASSING:
                    raise problem from None
                failed.append(problem)
                # Without a result Label Studio passes over it: an empty one would say that there is
                # nothing in the image.
                told = {"error": problem.detail, "status": problem.status_code}
                await sleep(0)  # one that fails at once lets others have their turn too
            results.append((await run_sync(json.dumps, told)).encode())
            if sum(map(len, results)) > MOST_ANSWERED:
                raise Problem(413, "the answer grows too long; ask for fewer tasks at a time")
        if failed and len(failed) == len(results):
            raise failed[0]
        return results

    async def _predicted(
        self,
        request: Request,
        version: ModelVersion,
        task: dict[str, Any],
        config: LabelConfig,
        label_of: dict[int, str],
    ) -> dict[str, Any]:
        options = RequestOptions()
        order = order_of(options, None, version.card)

        def work(work: Work, file: BinaryIO) -> tuple[list[dict[str, Any]], float | None]:
            found = segmented(work, [at_hand(file)]).segmentation
            dice = list(found.quality.predicted_dice.values())
            return regions_of(found, config, label_of), float(np.mean(dice)) if dice else None

        async with self._image_of(request, task, config.key) as file:
            side_by_side = self._public.side_by_side
            with self._public.admission.admitted(side_by_side):
                async with self._models.memory.lease(version) as model:
                    (regions, score), _ = await self._public.worked(
                        request, model, order, options.ask, partial(work, file=file)
                    )
        scored = {} if score is None else {"score": score}
        return {"model_version": version.label, **scored, "result": regions}

    async def webhook(self, request: Request) -> Response:
        """``POST /webhook``: what somebody drew or deleted."""
        async with self._bodies.whole(request) as body:
            event = await run_sync(parsed, body, SentEvent)
            if event.action == "START_TRAINING":
                raise Problem(
                    501, "nothing is trained from here; the annotations are a dataset: training.fit"
                )
            if event.action not in DRAWN | DELETED:
                return JSONResponse({"status": "Unknown event"})
            if self._kept is None:
                return JSONResponse({"status": "not kept: SEG_STUDIO names no folder"})
            return JSONResponse({"result": await self._told(request, event), "status": "ok"}, 201)

    async def _told(self, request: Request, event: SentEvent) -> object:
        """Do what an event says."""
        assert self._kept is not None
        if event.action in DELETED:
            gone = event.annotations or event.annotation
            numbers = [each.id for each in gone]
            return {"forgotten": await run_sync(self._kept.forget, numbers)}
        if event.project is None or len(event.task) != len(event.annotation):
            raise Problem(422, "an annotation comes with its task and its project: send_payload")
        pairs = list(zip(event.task, event.annotation, strict=True))
        return [await self._keep(request, event.project, *pair) for pair in pairs]

    async def _keep(
        self, request: Request, project: SentProject, task: SentTask, annotation: SentAnnotation
    ) -> dict[str, Any]:
        """Make an annotation a mask of the dataset; one that was skipped is none."""
        assert self._kept is not None
        kept = self._kept
        name = f"ls-{project.id}-{task.id}"
        if annotation.was_cancelled:
            await run_sync(kept.forget, [annotation.id])
            return {"image": name, "annotation": annotation.id, "counts": None}
        version = self._version(request)
        config = await run_sync(LabelConfig.parsed, project.label_config)
        names = [{"name": name} for name in Numbering.of(version.card).labels]
        begin = partial(kept.folder.begin, names, are_objects=version.card.instances is not None)
        classes = await run_sync(begin)
        async with self._image_of(request, task.model_dump(), config.key) as file:
            drawn = partial(_mask_of, config, annotation.result, classes, self._models.decoder)
            mask = await self._drawn_on(request, version, file, drawn)
            author = Author(who=name_of(request), source="label-studio")
            is_truth = annotation.ground_truth
            keep = partial(kept.keep, name, file, annotation.id, mask, author, is_truth=is_truth)
            counting = await run_sync(keep)
        return {"image": name, "annotation": annotation.id, "counts": counting}

    @asynccontextmanager
    async def _image_of(
        self, request: Request, task: dict[str, Any], key: str
    ) -> AsyncIterator[BinaryIO]:
        self._public.admission.require_place(self._public.side_by_side)
        most = self._models.settings.max_body_bytes
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
            await self._images.fetch(request, task, key, most, file)
            yield file  # type: ignore[misc]  # a BinaryIO in all but name

    async def _drawn_on(
        self,
        request: Request,
        version: ModelVersion,
        file: BinaryIO,
        drawn: Callable[[Image, Check], DrawnMask],
    ) -> DrawnMask:
        """What somebody drew on an image, which is decoded first."""
        with self._public.admission.admitted(self._public.side_by_side):
            async with self._models.memory.lease(version) as model:
                read = partial(self._models.decoder.image, [file], dims=2, limits=model.limits)
                return await self._public.decoded(
                    request, model, lambda check: drawn(read(check=check), check)
                )

    def _version(self, request: Request) -> ModelVersion:
        """The model that a path names, or the default one.

        Raises:
            Problem: 404, there is none; 422, it is one of volumes.
            NotReadyError: it does not answer.
        """
        version = self._models.choose(request.path_params.get("name"))
        if version.card.input.dims != 2:
            raise Problem(422, f"{version.card.name} is for volumes, Label Studio shows pictures")
        return version


def _mask_of(
    config: LabelConfig,
    results: list[Any],
    classes: DrawnClasses,
    decoder: ImageDecoder,
    image: Image,
    check: Check,
) -> DrawnMask:
    """The regions of one image as a mask of the dataset.

    Raises:
        Problem: 422, a region has a label that is no class, or is of a kind that is not read.
        ImageError: they are not as Label Studio writes them, or of another image.
    """
    ours = [each for each in results
            if not isinstance(each, dict) or each.get("to_name") == config.to_name]  # fmt: skip
    file = io.BytesIO(json.dumps(ours).encode())
    labels, left_out, order = decoder.drawing(
        file, "label-studio", image, are_objects=classes.are_objects, check=check
    )
    if left_out:
        raise Problem(
            422, f"not read: {min(left_out)[:40]}; draw brush strokes, polygons, rectangles or "
            "ellipses, each with one label"
        )  # fmt: skip
    class_of = config.class_of(classes.names)
    names = [class_of.get(label, label) for label in labels]
    mask = from_shapes(names, order, image, False, classes)
    return replace(mask, drawn_on=content_of(image))


def _as_problem(error: Problem | SegError) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestCancelledError | SchedulerClosedError | DecodingFullError):
        raise error
    return Problem(*status_and_detail(error))
