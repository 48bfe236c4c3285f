"""Mean, deviation and percentiles of an image that is seen in parts. Letters: ``c`` channels."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Float32, UInt32

from seg.transforms.intensity import (
    BY_LEVELS,
    PERCENTILES,
    Scaling,
    fixed_scaling,
    scaling_of_levels,
)
from seg.transforms.levels import Levels, sampling_step
from seg.transforms.spec import Normalisation

Passes = Callable[[], Iterable[Float32[np.ndarray, "c *slab"]]]
"""Each call goes through the image once more, part by part."""

HALF = 16
"""Bits of a float32 that one pass looks at."""


def scalings_of_parts(
    rules: Sequence[Normalisation], passes: Passes, shape: tuple[int, ...]
) -> tuple[Scaling, ...]:
    """What ``scaling_of`` finds for each channel of the whole, in one part's memory.

    Fixed rules need no pass, rules by levels and z-scores one each, percentiles two more.

    Args:
        rules: one a channel.
        passes: over the image.
        shape: of the whole image, without channels.
    """
    scalings = {i: fixed for i, rule in enumerate(rules) if (fixed := fixed_scaling(rule))}
    by_levels = [i for i, rule in enumerate(rules) if rule.kind in BY_LEVELS]
    if by_levels:
        samples = _samples((part[by_levels] for part in passes()), sampling_step(shape))
        for i, sample in zip(by_levels, samples, strict=True):
            scalings[i] = scaling_of_levels(Levels.of(sample), rules[i])
    if len(scalings) == len(rules):
        return tuple(scalings[i] for i in range(len(rules)))
    clipped = [i for i, rule in enumerate(rules) if rule.kind == "percentile"]
    clips: dict[int, tuple[float, float]] = {}
    if clipped:
        of_each = percentiles_of_parts(lambda: (part[clipped] for part in passes()))
        clips = dict(zip(clipped, of_each, strict=True))
    moments = {i: _Moments() for i in range(len(rules)) if i not in scalings}
    for part in passes():
        for i, moment in moments.items():
            moment.add(np.clip(part[i], *clips[i]) if i in clips else part[i])
    for i, moment in moments.items():
        if rules[i].kind == "minmax":
            scalings[i] = Scaling.of(moment.low, moment.high - moment.low)
        else:
            scalings[i] = Scaling.of(moment.mean, moment.deviation, *clips.get(i, ()))
    return tuple(scalings[i] for i in range(len(rules)))


def _samples(
    parts: Iterable[Float32[np.ndarray, "c *slab"]], step: int
) -> Float32[np.ndarray, "c n"]:
    """What ``sample_of`` takes of each channel of the whole."""
    kept, seen = [], 0
    for part in parts:
        flat = part.reshape(len(part), -1)
        kept.append(flat[:, -seen % step :: step])
        seen += flat.shape[1]
    return np.concatenate(kept, axis=1)


def percentiles_of_parts(passes: Passes) -> list[tuple[float, float]]:
    """``np.percentile(channel, PERCENTILES)`` of each channel, exactly.

    Counts the upper halves of the sorted bit patterns first, then, within the few that matter, the
    lower ones.
    """
    upper: np.ndarray | None = None
    for part in passes():
        if upper is None:
            upper = np.zeros((len(part), 1 << HALF), np.int64)
        for counts, channel in zip(upper, part, strict=True):
            counts += np.bincount(_sortable(channel) >> HALF, minlength=1 << HALF)
    assert upper is not None  # an image has at least one part
    total = int(upper[0].sum())
    places = np.array(PERCENTILES) / 100 * (total - 1)
    ranks = [int(r) for at in places for r in (np.floor(at), np.ceil(at))]
    bins = [[int(np.searchsorted(np.cumsum(c), r, side="right")) for r in ranks] for c in upper]
    lower = [{b: np.zeros(1 << HALF, np.int64) for b in of_channel} for of_channel in bins]
    for part in passes():
        for channel, counts_of in zip(part, lower, strict=True):
            keys = _sortable(channel)
            for found, counts in counts_of.items():
                inside = keys[keys >> HALF == found] & ((1 << HALF) - 1)
                counts += np.bincount(inside, minlength=1 << HALF)
    limits = []
    for counts, of_channel, counts_of in zip(upper, bins, lower, strict=True):
        below = np.concatenate([[0], np.cumsum(counts)])
        values = [
            _value(b, int(np.searchsorted(np.cumsum(counts_of[b]), r - below[b], side="right")))
            for b, r in zip(of_channel, ranks, strict=True)
        ]
        low, high = (
            values[2 * i] + (values[2 * i + 1] - values[2 * i]) * (at - np.floor(at))
            for i, at in enumerate(places)
        )
        limits.append((float(low), float(high)))
    return limits


def _sortable(x: Float32[np.ndarray, "*slab"]) -> UInt32[np.ndarray, " n"]:
    """Bit patterns in the order of the numbers."""
    bits = np.ascontiguousarray(x).ravel().view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def _value(upper: int, lower: int) -> float:
    key = np.uint32((upper << HALF) | lower)
    bits = key ^ np.uint32(1 << 31) if key >> 31 else ~key
    return float(np.array(bits, np.uint32).view(np.float32))


class _Moments:
    """Mean, deviation and extremes, updated part by part.

    Source: Chan, Golub and LeVeque, Updating formulae for computing sample variances (1979).
    """

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, 0.0, 0.0
        self.low, self.high = np.inf, -np.inf

    def add(self, x: Float32[np.ndarray, "*slab"]) -> None:
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
        mean, variance = float(x.mean(dtype=np.float64)), float(x.var(dtype=np.float64))
        shift, total = mean - self.mean, self.count + x.size
        self.squares += variance * x.size + shift**2 * self.count * x.size / total
        self.mean += shift * x.size / total
        self.count = total

    @property
    def deviation(self) -> float:
        return float(np.sqrt(self.squares / self.count))
