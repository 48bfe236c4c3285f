"""How many segmentations a service takes on at once."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from service.problems.response import Problem


class Admission:
    """Counts segmentations, so that more than can be served soon are sent away at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._mean_seconds = 1.0
        self.active = 0

    def require_place(self, side_by_side: int) -> None:
        """Before an image is read. Its upload holds no place: slow ones would take them all.

        503 and not 429: it is not this client who asks too much, the service is full.

        Raises:
            Problem: 503 with ``Retry-After`` when all places are taken.
        """
        if self.active >= self._most:
            seconds = math.ceil(self._mean_seconds * self.active / side_by_side)
            raise Problem(
                503,
                f"{self.active} segmentations run or wait already; try again later",
                {"Retry-After": str(min(max(seconds, 1), 60))},
            )

    @contextmanager
    def admitted(self, side_by_side: int) -> Iterator[None]:
        """Hold a place.

        Raises:
            Problem: as `require_place`.
        """
        self.require_place(side_by_side)
        self.active += 1
        start = perf_counter()
        try:
            yield
        finally:
            self.active -= 1
            self._mean_seconds += 0.1 * (perf_counter() - start - self._mean_seconds)
