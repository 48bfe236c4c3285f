"""Request bodies counted and timed while they arrive."""

import asyncio
from contextlib import suppress
from typing import Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems.response import Problem
from service.requests.numbers import whole_number

MUCH = 1 << 20
"""Bytes of a body that cost more to read than a new connection."""


class CutError(Exception):
    """The rest of a body is not read."""


class UploadBudget(Protocol):
    """What an upload may take."""

    @property
    def idle_s(self) -> float:
        """Seconds that an upload may stand still."""
        ...

    def spool(self, size: int) -> None:
        """Count bytes of bodies that are held."""
        ...


class _Upload:
    """A request whose body is counted and must not stand still."""

    def __init__(self, gate: UploadBudget, scope: Scope, receive: Receive, send: Send) -> None:
        self._gate = gate
        self._scope = scope
        self._receive = receive
        self._send = send
        self._reserved = 0
        self._came = 0
        self._complete = False
        self._started = False
        self._problem: Problem | None = None

    async def run(self, app: ASGIApp) -> None:
        length = whole_number(Headers(scope=self._scope).get("content-length", "")) or 0
        try:
            self._reserve(length)
            self._scope.setdefault("state", {})["reserve"] = self._reserve  # of what is fetched
            with suppress(CutError):
                await app(self._scope, self._watched_receive, self._guarded_send)
            if self._problem and not self._started:
                raise self._problem
        finally:
            self._gate.spool(-self._reserved)

    def _reserve(self, size: int) -> None:
        self._gate.spool(size)
        self._reserved += size

    async def _watched_receive(self) -> Message:
        if self._problem:
            raise CutError
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout(self._gate.idle_s):
                message = await self._receive()
        except TimeoutError:
            self._cut(Problem(408, f"nothing came for {self._gate.idle_s:g} s"))
        self._complete = not message.get("more_body", False)
        self._came += len(message.get("body", b""))
        try:
            self._reserve(max(0, self._came - self._reserved))
        except Problem as problem:
            self._cut(problem)
        return message

    def _cut(self, problem: Problem) -> None:
        self._problem = problem
        raise CutError

    async def _guarded_send(self, message: Message) -> None:
        if (
            self._problem and not self._started
        ):  # an inner layer took the cut for an error of its own
            return
        self._started = True
        if message["type"] == "http.response.start" and self._is_much_unread():
            # The answer came early: the server need not read the rest only to throw it away.
            MutableHeaders(scope=message)["Connection"] = "close"
        await self._send(message)

    def _is_much_unread(self) -> bool:
        return not self._complete and self._reserved - self._came > MUCH
