"""What each client has asked for lately, and has in flight, at all processes of a machine."""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import numpy as np

from service.sharing.memory import SETS, SharedMemory

MINUTE_S = 60.0


class ClientLimitError(Exception):
    """A client has reached its limit.

    Args:
        retry_after_s: when it may ask again.
    """

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


class ClientCounts:
    """Of clients by their names, which are kept as keyed hashes.

    Whoever asked longest ago is forgotten first, and never while something of it is in flight.
    """

    def __init__(self, memory: SharedMemory) -> None:
        self._memory = memory

    def take(self, client: str, per_minute: int) -> None:
        """Count a request: so many a minute, all of them at once if need be.

        As a leaky bucket: kept is when all that was asked would have been due, evenly spread.
        Source: ITU-T I.371, annex A, the generic cell rate algorithm.

        Raises:
            ClientLimitError: it asked more often.
        """
        each_s = MINUTE_S / per_minute
        with self._memory.locked():
            record = self._record_of(client)
            if record is None:
                return
            now = monotonic()
            due = max(float(record["due"]), now)
            too_early = due - now - (MINUTE_S - each_s)
            if too_early > 1e-6:  # noise of the clock's float
                raise ClientLimitError(math.ceil(too_early))
            record["due"] = due + each_s

    @contextmanager
    def in_flight(self, client: str, most: int) -> Iterator[None]:
        """Hold one of so many places.

        Raises:
            ClientLimitError: all are taken.
        """
        memory = self._memory
        with memory.locked():
            record = self._record_of(client)
            if record is not None:
                active = record["active"]
                if memory.stays(lambda: bool(active.sum() >= most)):
                    raise ClientLimitError(1)
                record["active"][memory.column] += 1
        try:
            yield
        finally:
            if record is not None:
                with memory.locked():
                    record["active"][memory.column] -= 1

    def _record_of(self, client: str) -> np.void | None:
        """Where a client is written down; None if others in flight take all places it may have."""
        digest = hashlib.blake2b(client.encode(), digest_size=16, key=self._memory.secret).digest()
        tag = np.uint64(int.from_bytes(digest[:8], "little") | 1)
        ways = self._memory.clients[int.from_bytes(digest[8:], "little") % SETS]
        known = np.flatnonzero(ways["tag"] == tag)
        if len(known):
            return ways[known[0]]  # type: ignore[no-any-return]
        if self._memory.stays(lambda: bool(ways["active"].any(1).all())):
            return None
        idle = np.flatnonzero(~ways["active"].any(1))
        record: np.void = ways[idle[ways["due"][idle].argmin()]]
        record["tag"], record["due"] = tag, 0.0
        return record
