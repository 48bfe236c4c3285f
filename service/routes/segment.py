"""POST /segment and POST /picture: images in, masks out."""

import asyncio
import math
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from time import perf_counter
from typing import BinaryIO

import anyio
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response

from service.answers.answer import AnswerHead, Content, Work, answer
from service.answers.quality_header import OBJECTS_HEADER, QUALITY_HEADER
from service.answers.streams import streamed
from service.batching.scheduler import BatchingPolicy
from service.errors import RequestCancelledError
from service.middleware.accounting import CLIENT_CLOSED_REQUEST, MODEL_HEADER
from service.models.ready_model import ReadyModel
from service.models.registry import ModelRegistry
from service.models.variants import VARIANT_HEADER, ServedVariant
from service.observability.metrics import MEDIA_TYPE as METRICS_MEDIA_TYPE
from service.observability.tracing import past_span
from service.problems.response import Problem
from service.requests.options import Ask, ask_of, options_of
from service.requests.order import Order, order_of
from service.requests.uploads import IN_MEMORY, Images, Uploads
from service.routes.admission import Admission

FAILED_HEADER = "X-Segmentation-Failed"
"""How many of several images have no mask."""


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

        def work() -> tuple[AnswerHead, ServedVariant]:
            begun = perf_counter()
            waited = begun - queued
            past_span("wait", (queued, begun))
            model.metrics.spent("wait", waited)
            running = int(self._limiter(model.scheduler.policy).borrowed_tokens)
            rung = model.chooser.choose(ask, self._admission.active, running, waited)
            contents = [[_at_hand(file) for file in channels] for channels in images]
            start = perf_counter()
            head = answer(Work(model, self._models.decoder, order, backend, rung), contents, body)
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
        if head.objects:
            headers[OBJECTS_HEADER] = head.objects
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

        def check() -> None:
            if useless.is_set():
                raise RequestCancelledError

        make = partial(
            self._models.decoder.picture,
            channels,
            dims=model.package.card.input.dims,
            limits=model.limits,
            check=check,
        )
        try:
            body, media_type = await run_sync(
                make,
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
        """``GET /livez``: the event loop turns, and no device has died."""
        self._models.require_alive()
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


def _at_hand(file: BinaryIO) -> Content:
    return lambda: nullcontext(file)


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
