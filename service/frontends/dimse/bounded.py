"""What a caller takes before it is known: connections, and pieces of the protocol (PDU).

pynetdicom starts a thread for every connection, which counts as an association before it has asked
for one, and reads a PDU as long as it says, which may be 4 GB.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

MOST_PDU = 1 << 20
"""Bytes; the largest that we announce are 16 KiB, one that asks for an association has some 40."""
PDU_S = 30.0
"""Seconds within which one has come."""
MOST_STRANGERS = 4
"""Connections, at a time, from addresses that are no peer's: they are told that they may not."""
READ_AT_ONCE = 1 << 14


def bound_reading(library: Any) -> None:
    """Let no PDU be longer, or come for longer, than that; of all associations of this process."""
    library.transport.AssociationSocket.recv = _received


def _received(self: Any, nr_bytes: int) -> bytearray:
    """As of the library, whose caller ends a connection over an `OSError`."""
    if nr_bytes > MOST_PDU:
        raise OSError("a PDU is longer than any that is taken")
    found, until = bytearray(), monotonic() + PDU_S
    before = self.socket.gettimeout()
    try:
        while len(found) < nr_bytes:
            self.socket.settimeout(max(0.01, until - monotonic()))
            piece = self.socket.recv(min(READ_AT_ONCE, nr_bytes - len(found)))
            if not piece:
                break
            found += piece
            if monotonic() > until:
                raise TimeoutError("a PDU did not come in time")
    finally:
        self.socket.settimeout(before)
    return found


def has_place(
    address: str, open_from: Iterable[str], most: int, is_peer: Callable[[str], bool]
) -> bool:
    """Whether another connection is taken.

    Args:
        address: from which it comes.
        open_from: addresses of those that are open.
        most: associations of all.
        is_peer: whether an address is that of somebody who may call.
    """
    counted = Counter(open_from)
    if is_peer(address):
        return counted.total() < 2 * most  # each knows by its status that too many are open
    return sum(count for each, count in counted.items() if not is_peer(each)) < MOST_STRANGERS
