"""Whatever refuses a request below ``/v2``, the gate and the limits too: in the protocol's form."""

import json

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems.document import MEDIA_TYPE

ROOT = "/v2"


class ProtocolRefusals:
    """Wraps an application: its problems become ``{"error": "a sentence"}``."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and f"{scope['path']}/".startswith(f"{ROOT}/"):
            send = _Translation(send).send
        await self._app(scope, receive, send)


class _Translation:
    """Of one answer; a problem is sent in one piece."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = Headers(raw=message["headers"]).get("content-type", "")
            if kind.startswith(MEDIA_TYPE):
                self._start = message
                return
        elif self._start is not None and message.get("body"):
            document = json.loads(message["body"])
            sentence = document.get("detail", document["title"])
            message = {**message, "body": json.dumps({"error": sentence}).encode()}
            headers = MutableHeaders(scope=self._start)
            headers["Content-Type"] = "application/json"
            headers["Content-Length"] = str(len(message["body"]))
            await self._send(self._start)
            self._start = None
        await self._send(message)
