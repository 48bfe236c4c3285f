"""The routes of the protocol, over what ``/segment``, ``/infer_patches`` and the probes do.

Each model is there twice: ``NAME`` takes an image file and answers its mask, ``NAME.patches`` takes
prepared patches and answers logits.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from math import prod
from typing import Any, BinaryIO, cast

import numpy as np
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seg.version import VERSION
from service.answers.answer import Work, segmented
from service.answers.quality_header import QUALITY_HEADER, as_header
from service.batching.request_backend import SharedBackend
from service.frontends.oip.bodies import body_of, json_length, kept
from service.frontends.oip.targets import PATCHES, OfferedModel, mask_tensors
from service.frontends.oip.tensors import (
    AnswerTensor,
    Asked,
    InferenceCall,
    Keep,
    Parameters,
    asked_of,
    response_of,
    wanted_of,
)
from service.middleware.accounting import MODEL_HEADER
from service.models.ready_model import ReadyModel
from service.models.registry import ModelRegistry
from service.models.variants import VARIANT_HEADER
from service.models.versions import LATEST, named, newest_first
from service.problems.response import Problem
from service.requests.options import RequestOptions, options_of
from service.requests.order import order_of
from service.routes.patches import MOST_DIGITS, MOST_PATCHES, PatchRoutes
from service.routes.segment import PublicRoutes, at_hand

ROOT = "/v2"
OURS = frozenset(RequestOptions.model_fields) - {"model", "format", "measurements"}
"""Options of ``POST /segment`` that a request's ``parameters`` may hold."""
HARMLESS = frozenset({"binary_data_output", "timeout", "priority"})
"""Parameters of the protocol that change no mask."""


Parse = Callable[[Keep, SharedBackend], Asked]
"""Reads a request; what is kept lasts as long as that."""
Encode = Callable[[InferenceCall, list[AnswerTensor], Parameters, SharedBackend], Response]
"""Writes an answer, with what else is told of it."""


class InferenceProtocol:
    """The routes."""

    def __init__(self, models: ModelRegistry, public: PublicRoutes) -> None:
        self._models = models
        self._public = public
        self._patches = PatchRoutes(models, public)

    def routes(self) -> list[Route]:
        """All below ``/v2``."""
        model = f"{ROOT}/models/{{name}}"
        found = [
            Route(ROOT, self.server, methods=["GET"]),
            Route(f"{ROOT}/health/live", self.live, methods=["GET"]),
            Route(f"{ROOT}/health/ready", self.ready, methods=["GET"]),
        ]
        for path in (model, f"{model}/versions/{{version}}"):
            found += [
                Route(path, self.model, methods=["GET"]),
                Route(f"{path}/ready", self.model_ready, methods=["GET"]),
                Route(f"{path}/infer", self.infer, methods=["POST"]),
            ]
        return found

    async def server(self, _: Request) -> Response:
        """``GET /v2``: what this is."""
        return JSONResponse(
            {"name": "seg", "version": VERSION, "extensions": ["binary_tensor_data"]}
        )

    async def live(self, _: Request) -> Response:
        """``GET /v2/health/live``: as ``/livez``."""
        self._models.require_alive()
        return JSONResponse({"live": True})

    async def ready(self, _: Request) -> Response:
        """``GET /v2/health/ready``: as ``/readyz``."""
        self._models.require_ready()
        return JSONResponse({"ready": True})

    async def model_ready(self, request: Request) -> Response:
        """``GET /v2/models/{name}/ready``: it answers."""
        return JSONResponse({"name": self._target(request).name, "ready": True})

    async def model(self, request: Request) -> Response:
        """``GET /v2/models/{name}``: its tensors."""
        return JSONResponse(self.described(self._target(request)))

    def described(self, target: OfferedModel) -> dict[str, Any]:
        """What a model says of itself."""
        versions = named(f"{target.card.name}:{LATEST}", self._models.versions())
        return {
            "name": target.name,
            "versions": [v.card.version for v in newest_first(versions) if v.state == "proven"],
            "platform": "onnx_onnxv1",
            "inputs": [target.input.in_json()],
            "outputs": [each.in_json() for each in target.outputs],
        }

    async def infer(self, request: Request) -> Response:
        """``POST /v2/models/{name}/infer``: a tensor in, tensors out."""
        target = self._target(request)
        settings = self._models.settings
        most = settings.max_body_bytes
        if target.takes_patches:
            shape = target.input.shape[1:]
            most = min(most, 4096 + MOST_PATCHES * prod(shape) * MOST_DIGITS)
        self._public.admission.require_place(self._public.side_by_side)
        async with body_of(request, most) as body:
            length = json_length(request, body)

            def parse(keep: Keep, backend: SharedBackend) -> Asked:
                def parsed(file: Any, shape: tuple[int, ...], most: int) -> tuple[str, list[Any]]:
                    check = backend.raise_if_cancelled
                    return self._models.decoder.tensors(file, shape=shape, most=most, check=check)

                return asked_of(body, length, target.input, target.most_items, keep, parsed)

            def encode(call: InferenceCall, tensors: list[AnswerTensor], quality: Parameters,
                       backend: SharedBackend) -> Response:  # fmt: skip
                def listed(tensor: AnswerTensor) -> bytes:
                    return tensor.listed(self._models.decoder, backend.raise_if_cancelled)

                return response_of(call, target.label, tensors, listed, quality)

            return await self.answered(request, target, parse, encode)

    async def answered(
        self, request: Request, target: OfferedModel, parse: Parse, encode: Encode
    ) -> Response:
        """The answer to a request whose body has come.

        Args:
            request: that one.
            target: the model.
            parse: reads the body.
            encode: writes the answer.

        Raises:
            Problem: the request is none that the model answers, or there is no place for it.
        """
        with ExitStack() as files, self._public.admission.admitted(self._public.side_by_side):
            async with self._models.memory.lease(target.version) as model:
                keep = partial(kept, files=files)
                asked = await self._patches.worked(request, model, partial(parse, keep))
                wanted_of(asked.call, [each.name for each in target.outputs])
                if target.takes_patches:
                    return await self._logits_of(request, model, asked, encode)
                return await self._mask_of(request, model, target, asked, encode)

    async def _logits_of(
        self, request: Request, model: ReadyModel, asked: Asked, encode: Encode
    ) -> Response:
        _options(asked.call, frozenset())

        def work(backend: SharedBackend) -> Response:
            logits = model.infer(cast(np.ndarray, asked.data), backend)
            return encode(asked.call, [AnswerTensor("logits", logits)], {}, backend)

        response = await self._patches.worked(request, model, work)
        response.headers[MODEL_HEADER] = model.label
        return response

    async def _mask_of(
        self,
        request: Request,
        model: ReadyModel,
        target: OfferedModel,
        asked: Asked,
        encode: Encode,
    ) -> Response:
        options = options_of(_options(asked.call, OURS))
        order = order_of(options, None, target.card)
        files = [at_hand(file) for file in cast(list[BinaryIO], asked.data)]

        def work(work: Work) -> Response:
            found = segmented(work, files)
            quality = as_header(found.segmentation)
            tensors = mask_tensors(found, target.card)
            response = encode(asked.call, tensors, {"quality": quality}, work.backend)
            response.headers[QUALITY_HEADER] = quality
            return response

        response, rung = await self._public.worked(request, model, order, options.ask, work)
        response.headers[MODEL_HEADER] = model.label
        response.headers[VARIANT_HEADER] = rung.header
        return response

    def _target(self, request: Request) -> OfferedModel:
        """The model that a path names."""
        return self.target(request.path_params["name"], request.path_params.get("version"))

    def target(self, name: str, version: str | None) -> OfferedModel:
        """The model that a client names; one whose own name ends so is meant before its patches.

        Raises:
            Problem: 404, there is none.
            NotReadyError: it does not answer.
        """
        known = {each.card.name for each in self._models.versions()}
        takes_patches = name not in known and name.endswith(PATCHES)
        plain = name.removesuffix(PATCHES) if takes_patches else name
        if plain not in known and known:
            listed = ", ".join(sorted(known | {each + PATCHES for each in known}))
            raise Problem(404, f"there is no model {name[:80]!r}; there is {listed}")
        chosen = self._models.choose(f"{plain}:{version}" if version else plain)
        return OfferedModel(chosen, takes_patches)


def _options(call: InferenceCall, known: frozenset[str]) -> QueryParams:
    """Parameters of a request as a query, which the service's own options are.

    Raises:
        Problem: 400, there is one that nobody knows: it might have changed the mask.
    """
    given = {name: value for name, value in call.parameters.items() if name not in HARMLESS}
    for name in given:
        if name not in known:
            listed = ", ".join(sorted(known)) or "none of its own"
            raise Problem(400, f"there is no parameter {name[:40]!r}; this model has {listed}")
    return QueryParams(
        [
            (name, str(value).lower() if isinstance(value, bool) else str(value))
            for name, value in given.items()
        ]
    )
