"""How many requests a client may send in a time."""

import math
from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic

from service.problems.response import Problem

MOST_BUCKETS = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled: float


class RateLimit:
    """So many requests a minute for each client, all of them at once if need be."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, client: str, per_minute: int) -> None:
        """Count a request.

        Raises:
            Problem: 429 with ``Retry-After``.
        """
        now = monotonic()
        bucket = self._buckets.pop(client, None) or _Bucket(per_minute, now)
        rate = per_minute / 60
        bucket.tokens = min(per_minute, bucket.tokens + (now - bucket.filled) * rate)
        bucket.filled = now
        self._buckets[client] = bucket
        while len(self._buckets) > MOST_BUCKETS:
            self._buckets.popitem(last=False)
        if bucket.tokens < 1:
            raise Problem(
                429,
                f"you may ask {per_minute} times a minute",
                {"Retry-After": str(math.ceil((1 - bucket.tokens) / rate))},
            )
        bucket.tokens -= 1
