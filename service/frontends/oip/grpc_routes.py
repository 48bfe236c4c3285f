"""The protocol's methods over gRPC as routes, under their own paths: ``grpc_server`` asks them.

So keys, limits, counts and logs are those of every request.
"""

from anyio.to_thread import run_sync
from google.protobuf.message import Message
from open_inference.grpc import protocol
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from seg.version import VERSION
from service.batching.request_backend import SharedBackend
from service.frontends.oip.grpc_bounds import check_message
from service.frontends.oip.grpc_messages import (
    MEDIA_TYPE,
    M,
    asked_of_message,
    message_of,
    parsed,
)
from service.frontends.oip.routes import InferenceProtocol
from service.frontends.oip.tensors import AnswerTensor, Asked, InferenceCall, Keep, Parameters
from service.middleware.access import GRPC
from service.models.registry import ModelRegistry
from service.problems.response import Problem
from service.requests.bodies import short_body
from service.routes.segment import PublicRoutes

MOST_SMALL = 64 * 1024
"""Bytes of a message that holds no tensors."""
PUT_ASIDE = "put_aside"
"""In a request's state: is called when its message is no longer in memory, from any thread."""


class GrpcProtocol:
    """The routes."""

    def __init__(self, models: ModelRegistry, public: PublicRoutes) -> None:
        self._models = models
        self._public = public
        self._protocol = InferenceProtocol(models, public)

    def routes(self) -> list[Route]:
        """One a method."""
        return [
            Route(f"{GRPC}/ServerLive", self.live, methods=["GET"]),
            Route(f"{GRPC}/ServerReady", self.ready, methods=["GET"]),
            Route(f"{GRPC}/ServerMetadata", self.server, methods=["GET"]),
            Route(f"{GRPC}/ModelReady", self.model_ready, methods=["POST"]),
            Route(f"{GRPC}/ModelMetadata", self.model, methods=["POST"]),
            Route(f"{GRPC}/ModelInfer", self.infer, methods=["POST"]),
        ]

    async def live(self, _: Request) -> Response:
        """``ServerLive``: as ``/livez``."""
        self._models.require_alive()
        return _answer(protocol.ServerLiveResponse(live=True))

    async def ready(self, _: Request) -> Response:
        """``ServerReady``: as ``/readyz``."""
        self._models.require_ready()
        return _answer(protocol.ServerReadyResponse(ready=True))

    async def server(self, _: Request) -> Response:
        """``ServerMetadata``: what this is."""
        return _answer(protocol.ServerMetadataResponse(name="seg", version=VERSION))

    async def model_ready(self, request: Request) -> Response:
        """``ModelReady``: it answers."""
        asked = await _message(request, protocol.ModelReadyRequest)
        self._protocol.target(asked.name, asked.version or None)
        return _answer(protocol.ModelReadyResponse(ready=True))

    async def model(self, request: Request) -> Response:
        """``ModelMetadata``: its tensors."""
        asked = await _message(request, protocol.ModelMetadataRequest)
        target = self._protocol.target(asked.name, asked.version or None)
        return _answer(protocol.ModelMetadataResponse(**self._protocol.described(target)))

    async def infer(self, request: Request) -> Response:
        """``ModelInfer``: a tensor in, tensors out."""
        settings = self._models.settings
        self._public.admission.require_place(self._public.side_by_side)
        chunks = await _whole(request, settings.max_body_bytes)
        messages = [await run_sync(_read, chunks)]
        name, version = messages[0].model_name, messages[0].model_version
        target = self._protocol.target(name, version or None)

        def parse(keep: Keep, _: SharedBackend) -> Asked:
            asked = asked_of_message(messages.pop(), target.input, target.most_items, keep)
            # what it holds lies on disk by now: another message may come
            request.scope["state"].get(PUT_ASIDE, lambda: None)()
            return asked

        def encode(call: InferenceCall, tensors: list[AnswerTensor], quality: Parameters,
                   _: SharedBackend) -> Response:  # fmt: skip
            return message_of(call, target.label, tensors, quality)

        return await self._protocol.answered(request, target, parse, encode)


async def _whole(request: Request, most: int) -> list[bytes]:
    """A message, which is in memory as one piece already.

    Raises:
        Problem: 413, it is longer.
    """
    chunks = [chunk async for chunk in request.stream() if chunk]
    if sum(map(len, chunks)) > most:
        raise Problem(413, f"a message has {most / 1e6:.3g} MB at most, this one has more")
    return chunks


def _read(chunks: list[bytes]) -> protocol.ModelInferRequest:
    content = b"".join(chunks)
    chunks.clear()
    check_message(content)
    return parsed(protocol.ModelInferRequest, content)


async def _message(request: Request, kind: type[M]) -> M:
    """A small message.

    Raises:
        Problem: 400, the body is none; 413, it is too long.
    """
    too_long = Problem(413, f"a message without tensors has {MOST_SMALL} bytes at most")
    return parsed(kind, await short_body(request, MOST_SMALL, too_long))


def _answer(message: Message) -> Response:
    return Response(message.SerializeToString(), media_type=MEDIA_TYPE)
