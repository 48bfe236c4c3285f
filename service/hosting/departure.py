"""Whether a client has gone before its request had come: nobody need work on what is left of it.

Clients that hang up in the middle of an upload cost as much as those that wait, and come faster:
they need no answer to send the next. The system knows that they have gone before we have read what
they sent.
"""

import fcntl
import socket
import struct
import termios

_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)
"""Linux has it; elsewhere nobody is known to have gone before it is read."""
_RESET, _ENDED = 7, 8
"""States ``CLOSE`` and ``CLOSE_WAIT``. Source: Linux, include/net/tcp_states.h."""
_COUNT = struct.Struct("i")


def has_left(connection: socket.socket, missing: int) -> bool:
    """Whether a client has gone.

    One that has only ended what it sends may still wait for the answer, as far as all of its
    request is there.

    Args:
        connection: without TLS.
        missing: bytes of the request that were not handed to us yet.
    """
    if _TCP_INFO is None:
        return False
    try:
        (state,) = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1)
        if state != _ENDED:
            return bool(state == _RESET)
        unread = fcntl.ioctl(connection.fileno(), termios.FIONREAD, bytes(_COUNT.size))
    except OSError:  # no TCP, or closed on our side
        return False
    return int(_COUNT.unpack(unread)[0]) < missing
