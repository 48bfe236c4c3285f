"""POST /infer_patches: prepared patches in, logits out, both as JSON, as BentoML's clients speak.

BentoML itself would parse whatever comes on the event loop, and join the arrays of several
requests: here the body has a limit of its own, and a decoder parses it and writes the answer.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from math import prod
from typing import BinaryIO, TypeVar

import numpy as np
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from service.batching.request_backend import SharedBackend
from service.models.ready_model import ReadyModel
from service.models.registry import ModelRegistry
from service.problems.response import Problem
from service.requests.bodies import require_fits
from service.requests.forms import MOST_TEXT, whole_form
from service.requests.uploads import IN_MEMORY
from service.routes.segment import PublicRoutes
from service.routes.until_useless import until_useless

T = TypeVar("T")

MOST_PATCHES = 8
"""Of a request."""
MOST_DIGITS = 32
"""Bytes of a number and what surrounds it."""
FIELD = "patches"


class PatchRoutes:
    """The route; it shares places and threads with segmentations."""

    def __init__(self, models: ModelRegistry, public: PublicRoutes) -> None:
        self._models = models
        self._public = public

    async def infer(self, request: Request) -> Response:
        """``POST /infer_patches``: logits of prepared patches, for clients of BentoML."""
        version = self._models.choose()
        spec = version.card.input
        shape = (len(spec.channels), *spec.patch)
        most = min(
            self._models.settings.max_body_bytes, 4096 + MOST_PATCHES * prod(shape) * MOST_DIGITS
        )
        admission, side_by_side = self._public.admission, self._public.side_by_side
        admission.require_place(side_by_side)
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as body:
            await _receive(request, body, most)  # type: ignore[arg-type]  # one in all but name
            with admission.admitted(side_by_side):
                async with self._models.memory.lease(version) as model:
                    return await self._infer(request, model, body, shape)  # type: ignore[arg-type]

    async def _infer(
        self, request: Request, model: ReadyModel, body: BinaryIO, shape: tuple[int, ...]
    ) -> Response:
        decoder = self._models.decoder

        def work(backend: SharedBackend) -> memoryview:
            check = backend.raise_if_cancelled
            patches = decoder.patches(body, shape=shape, most=MOST_PATCHES, check=check)
            logits = model.infer(np.ascontiguousarray(patches), backend)
            return decoder.as_json(logits, check)

        content = await self.worked(request, model, work)
        return Response(content, media_type="application/json")

    async def worked(
        self, request: Request, model: ReadyModel, do: Callable[[SharedBackend], T]
    ) -> T:
        """What ``do`` returns, in a thread, for as long as the client waits.

        Raises:
            Problem: 504, the time is up.
        """
        backend, timeout_s = model.backend(), self._models.settings.timeout_s
        return await until_useless(
            request,
            partial(do, backend),
            cancel=backend.cancel,
            timeout_s=timeout_s,
            too_late=f"the patches took longer than {timeout_s:g} s and were stopped",
            limiter=self._public.threads(model.scheduler.policy),
        )


async def _receive(request: Request, target: BinaryIO, most: int) -> None:
    """Write the JSON of a request.

    Raises:
        Problem: 413, it is longer than its patches can be; 415, it is none; 422, a form without it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with whole_form(request, most_text=min(most, MOST_TEXT)) as form:
            value = form.get(FIELD)
            if value is None:
                raise Problem(422, f"the form has no field {FIELD}")
            if isinstance(value, UploadFile):
                while chunk := await value.read(IN_MEMORY):
                    _write(target, chunk, most)
            else:
                _write(target, value.encode(), most)
        return
    if kind not in ("application/json", ""):
        raise Problem(415, "patches are sent as application/json, in lists of numbers")
    async for chunk in request.stream():
        _write(target, chunk, most)


def _write(target: BinaryIO, chunk: bytes, most: int) -> None:
    too_long = f"{MOST_PATCHES} patches take {most / 1e6:.3g} MB at most, this body has more"
    require_fits(chunk, target, most, too_long)
    target.write(chunk)
