"""Load on a server over HTTP/1.1, at a cost small enough for the machine that is measured.

Closed loop: clients ask again when they are answered. Open loop: requests come when they come,
whether or not the server keeps up; latency counts from the moment at which a request was due.
"""

import asyncio
import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import httptools
import numpy as np
import uvloop

GIVE_UP_S = 60.0


@dataclass(frozen=True)
class Answer:
    """What became of one request."""

    status: int
    """0 where the connection broke."""
    seconds: float
    done_at: float
    """Seconds since the load began."""
    retry_after: bool


@dataclass
class Outcome:
    """All answers that were complete within the time of the load."""

    seconds: float
    answers: list[Answer] = field(default_factory=list)

    def rate(self, status: int = 200) -> float:
        """Answers of that status a second."""
        return sum(answer.status == status for answer in self.answers) / self.seconds

    def percentile_ms(self, q: float, *, good: bool = True) -> float:
        """Of the latencies of the good answers, or of the refusals."""
        found = [a.seconds for a in self.answers if (a.status == 200) == good]
        return float(np.percentile(found, q)) * 1e3 if found else float("nan")

    @property
    def failed(self) -> int:
        """Answers that are neither a success nor a refusal with Retry-After."""
        return sum(a.status != 200 and not a.retry_after for a in self.answers)


def form(image: bytes, path: str = "/segment") -> bytes:
    """A request with an image in a form."""
    boundary = uuid.uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="i.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    body = head.encode() + image + f"\r\n--{boundary}--\r\n".encode()
    return post(body, path, f"multipart/form-data; boundary={boundary}")


def post(body: bytes, path: str, content_type: str, **headers: str) -> bytes:
    """A request with a body."""
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n{more}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def get(path: str) -> bytes:
    """A request without a body."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[int] | None = None
        self.closed = False
        self.retry_after = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._finish(0)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.retry_after |= name.lower() == b"retry-after"

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.close()
        self._finish(self._parser.get_status_code())

    async def ask(self, request: bytes) -> int:
        self._parser = httptools.HttpResponseParser(self)
        self.retry_after = False
        self._answer = asyncio.get_running_loop().create_future()
        assert self._transport is not None
        self._transport.write(request)
        try:
            return await asyncio.wait_for(self._answer, GIVE_UP_S)
        except TimeoutError:
            self.close()
            return 0

    def close(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.close()

    def _finish(self, status: int) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(status)


class _Pool:
    """Connections to one server; idle ones are used again."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[_Connection] = []

    async def ask(self, request: bytes) -> tuple[int, bool]:
        """Status, and whether the answer says when to come back."""
        while self._idle and self._idle[-1].closed:
            self._idle.pop()
        if self._idle:
            connection = self._idle.pop()
        else:
            loop = asyncio.get_running_loop()
            try:
                _, connection = await loop.create_connection(_Connection, "127.0.0.1", self._port)
            except OSError:
                return 0, False
        status = await connection.ask(request)
        if not connection.closed:
            self._idle.append(connection)
        return status, connection.retry_after

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


def closed_loop(
    port: int, requests: Sequence[bytes], clients: int, seconds: float, most: int = 10**9
) -> Outcome:
    """So many clients, each with one request on its way, for a time or a number of requests."""

    async def run() -> Outcome:
        pool, outcome, start = _Pool(port), Outcome(seconds), perf_counter()
        turns = iter(_cycle(requests, most))

        async def client() -> None:
            for request in turns:
                asked = perf_counter()
                if asked - start >= seconds:
                    return
                status, retry_after = await pool.ask(request)
                now = perf_counter()
                outcome.answers.append(Answer(status, now - asked, now - start, retry_after))

        await asyncio.gather(*(client() for _ in range(clients)))
        pool.close()
        # the last answers come after the time is up: they took its share of the machine too
        outcome.seconds = perf_counter() - start
        return outcome

    return uvloop.run(run())


def open_loop(
    port: int, requests: Sequence[bytes], rate: float, seconds: float, seed: int = 0
) -> Outcome:
    """Requests at random moments (Poisson), ``rate`` a second."""

    async def run() -> Outcome:
        pool, outcome = _Pool(port), Outcome(seconds)
        rng, turns, due = random.Random(seed), iter(_cycle(requests, 10**9)), 0.0
        start, asking = perf_counter(), set[asyncio.Task[None]]()

        async def one(request: bytes, due: float) -> None:
            status, retry_after = await pool.ask(request)
            now = perf_counter() - start
            outcome.answers.append(Answer(status, now - due, now, retry_after))

        while (due := due + rng.expovariate(rate)) < seconds:
            if (pause := start + due - perf_counter()) > 0:
                await asyncio.sleep(pause)
            task = asyncio.create_task(one(next(turns), due))
            asking.add(task)
            task.add_done_callback(asking.discard)
        await asyncio.gather(*asking)
        pool.close()
        outcome.seconds = perf_counter() - start
        return outcome

    return uvloop.run(run())


def _cycle(requests: Sequence[bytes], most: int) -> Iterator[bytes]:
    for number in range(most):
        yield requests[number % len(requests)]
