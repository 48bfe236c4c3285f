"""Refusals as ``{"error": "a sentence"}``, as KServe's protocol and Label Studio read them.

Those of the gate and of the limits too: whatever refuses a request below a front end's path.
"""

import json

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems.document import MEDIA_TYPE


class PlainRefusals:
    """Wraps an application.

    Args:
        app: whose problems are translated.
        root: path of the front end.
        challenge: says in which way its callers bring keys; None leaves what there is.
    """

    def __init__(self, app: ASGIApp, root: str, challenge: str | None = None) -> None:
        self._app = app
        self._root = root
        self._challenge = challenge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and f"{scope['path']}/".startswith(f"{self._root}/"):
            send = _Translation(send, self._challenge).send
        await self._app(scope, receive, send)


class _Translation:
    """Of one answer; a problem is sent in one piece."""

    def __init__(self, send: Send, challenge: str | None) -> None:
        self._send = send
        self._challenge = challenge
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
            if self._challenge and self._start["status"] == 401:
                headers["WWW-Authenticate"] = self._challenge
            await self._send(self._start)
            self._start = None
        await self._send(message)
