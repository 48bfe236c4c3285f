"""Closing a connection on which the client is still sending.

Whoever closes a socket with unread bytes in it makes the system reset the connection, and a reset
takes the answer with it that the client has not read yet: it sees a broken pipe in place of a 401
or 413, and a reverse proxy says 502. So what was answered early is closed for writing first, and
what still comes is thrown away for a while (RFC 9112, section 9.6).
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

LINGER_S = 5.0
"""Seconds after which the connection is closed whatever comes."""
MOST_DRAINED = 32 << 20
"""Bytes that are thrown away: enough for whoever reads while it sends."""


class LingeringTransport:
    """A transport whose ``close`` waits for a client that is still sending.

    Args:
        transport: does all the rest.
        is_sending: whether a body is on its way.
    """

    def __init__(self, transport: asyncio.Transport, is_sending: Callable[[], bool]) -> None:
        self._transport = transport
        self._is_sending = is_sending
        self._left = MOST_DRAINED
        self.is_draining = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether nothing more is sent."""
        return self.is_draining or self._transport.is_closing()

    def take_no_more_than(self, size: int) -> None:
        """So many bytes are thrown away at most: this client means no good."""
        self._left = min(self._left, size)

    def close(self) -> None:
        """Send what was written, and hang up as soon as the client has had time to read it."""
        if self.is_draining:
            return
        if not self._is_sending() or not self._transport.can_write_eof():
            self._transport.close()
            return
        self.is_draining = True
        self._transport.write_eof()
        with suppress(RuntimeError):  # it was not paused
            self._transport.resume_reading()
        asyncio.get_running_loop().call_later(LINGER_S, self._transport.close)

    def drain(self, size: int) -> None:
        """So many bytes came and were thrown away."""
        self._left -= size
        if self._left < 0:
            self._transport.close()
