"""POST /segment and POST /picture: images in, masks out."""

import math
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from time import perf_counter
from typing import Any, BinaryIO, TypeVar

import anyio
from starlette.requests import Request
from starlette.responses import Response

from seg.inference.backends.ways import way_of
from service.answers.answer import AnswerHead, Content, Work, answer
from service.answers.quality_header import OBJECTS_HEADER, QUALITY_HEADER
from service.answers.streams import streamed
from service.batching.scheduler import BatchingPolicy
from service.decoding.image_decoder import Check
from service.errors import RequestCancelledError
from service.middleware.accounting import MODEL_HEADER
from service.models.ready_model import ReadyModel
from service.models.registry import ModelRegistry
from service.models.variants import VARIANT_HEADER, ServedVariant
from service.observability.metrics import MEDIA_TYPE as METRICS_MEDIA_TYPE
from service.observability.tracing import past_span
from service.preferences import whole_list
from service.problems.response import Problem
from service.requests.options import Ask, options_of
from service.requests.order import Order, order_of
from service.requests.picture_wish import picture_wish
from service.requests.uploads import IN_MEMORY, Images, Uploads
from service.routes.admission import Admission
from service.routes.until_useless import until_useless

T = TypeVar("T")

PRECISION_HEADER = "X-Segmentation-Precision"
"""Of the arithmetic of the network that answered."""

PICTURE_SIZE = "X-Picture-Size"
"""Pixels of the whole image along x, y (and z), of which a picture may show a part, or coarser."""

FAILED_HEADER = "X-Segmentation-Failed"
"""How many of several images have no mask."""


class PublicRoutes:
    """The routes, and how much they take on at once."""

    def __init__(self, models: ModelRegistry, uploads: Uploads) -> None:
        self._models = models
        self._uploads = uploads
        self._metrics = models.metrics
        self.admission = Admission(models.settings.max_requests)
        self._threads: anyio.CapacityLimiter | None = None
        self._metrics.watch(
            waiting=lambda: sum(m.scheduler.waiting for m in models.memory.models()),
            active=lambda: self.admission.active,
            ready=lambda: models.is_ready,
        )

    async def segment(self, request: Request) -> Response:
        """``POST /segment``: an image in, its mask out."""
        options = options_of(request.query_params)
        version = self._models.choose(options.model)
        order = order_of(options, whole_list(request.headers, "accept"), version.card)
        self.admission.require_place(self.side_by_side)
        async with self._uploads.images_of(request) as images:
            with self.admission.admitted(self.side_by_side):
                async with self._models.memory.lease(version) as model:
                    return await self._segment(request, model, images, order, options.ask)

    async def _segment(
        self, request: Request, model: ReadyModel, images: Images, order: Order, ask: Ask
    ) -> Response:
        body = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  closed when it is sent

        def write(work: Work) -> AnswerHead:
            return answer(work, [[at_hand(file) for file in files] for files in images], body)

        head, rung = await self.worked(request, model, order, ask, write)
        headers = {
            "Content-Disposition": f'inline; filename="{head.filename}"',
            MODEL_HEADER: model.label,
            VARIANT_HEADER: rung.header,
            PRECISION_HEADER: way_of(rung.backend).precision,
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
            with body:
                return Response(body.read(), media_type=head.media_type, headers=headers)
        return streamed(body, size, head.media_type, headers)

    async def worked(
        self,
        request: Request,
        model: ReadyModel,
        order: Order,
        ask: Ask,
        do: Callable[[Work], T],
    ) -> tuple[T, ServedVariant]:
        """What ``do`` makes of an order, in a thread, for as long as the client waits.

        Args:
            request: whose body has come.
            model: is leased.
            order: what is wanted.
            ask: how well and how soon.
            do: reads the images and segments them.

        Raises:
            Problem: 503, it would be late; 504, it is.
        """
        model.chooser.refuse_what_is_late(ask, self.admission.active)
        backend = model.backend()
        timeout_s = min(self._models.settings.timeout_s, ask.deadline_s or math.inf)
        queued = perf_counter()

        def work() -> tuple[T, ServedVariant]:
            begun = perf_counter()
            waited = begun - queued
            past_span("wait", (queued, begun))
            model.metrics.spent("wait", waited)
            running = int(self.threads(model.scheduler.policy).borrowed_tokens)
            rung = model.chooser.choose(ask, self.admission.active, running, waited)
            start = perf_counter()
            done = do(Work(model, self._models.decoder, order, backend, rung))
            model.chooser.took(rung, backend.patches, perf_counter() - start, running)
            return done, rung

        done, rung = await until_useless(
            request,
            work,
            cancel=backend.cancel,
            timeout_s=timeout_s,
            too_late=f"the segmentation took longer than {timeout_s:g} s and was stopped; "
            "POST /jobs takes longer ones",
            limiter=self.threads(model.scheduler.policy),
        )
        model.metrics.answered_by(rung.variant)
        return done, rung

    async def picture(self, request: Request) -> Response:
        """``POST /picture``: an image in, the same image as a browser can show it out."""
        task, wish = picture_wish(request.query_params)
        version = self._models.choose(request.query_params.get("model"))
        self.admission.require_place(self.side_by_side)
        async with self._uploads.images_of(request) as images:
            if len(images) > 1:
                raise Problem(422, "a picture is made of one image: fields named image")
            with self.admission.admitted(self.side_by_side):
                async with self._models.memory.lease(version) as model:
                    return await self._picture(request, model, images[0], task, wish)

    async def _picture(
        self,
        request: Request,
        model: ReadyModel,
        channels: Sequence[BinaryIO],
        task: str,
        wish: Mapping[str, Any],
    ) -> Response:
        dims = model.package.card.input.dims
        decoder = self._models.decoder
        show = partial(
            decoder.picture, channels, dims=dims, limits=model.limits, task=task, wish=wish
        )
        body, media_type, size = await self.decoded(request, model, lambda check: show(check=check))
        headers = {PICTURE_SIZE: ",".join(map(str, size))} if size else {}
        return Response(body, media_type=media_type, headers=headers)

    async def decoded(self, request: Request, model: ReadyModel, do: Callable[[Check], T]) -> T:
        """What ``do`` makes of images that no network sees, in a thread, while the client waits.

        Raises:
            Problem: 504, the time is up.
        """
        timeout_s = self._models.settings.timeout_s
        useless = threading.Event()

        def check() -> None:
            if useless.is_set():
                raise RequestCancelledError

        return await until_useless(
            request,
            partial(do, check),
            cancel=useless.set,
            timeout_s=timeout_s,
            too_late=f"reading the image took longer than {timeout_s:g} s and was stopped",
            limiter=self.threads(model.scheduler.policy),
        )

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
    def side_by_side(self) -> int:
        """Images that are worked on at the same time."""
        return int(self._threads.total_tokens) if self._threads else 1

    def threads(self, policy: BatchingPolicy) -> anyio.CapacityLimiter:
        """Bounds the images in memory; enough of them to fill every batch."""
        if self._threads is None:
            fitting = policy.runners * policy.batch_size + 2
            self._threads = anyio.CapacityLimiter(self._models.settings.threads or fitting)
        return self._threads


def at_hand(file: BinaryIO) -> Content:
    """A file that is open already."""
    return lambda: nullcontext(file)
