"""Which files an answer holds, and what holds them together."""

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from seg.inference import Output, outputs_for
from service.preferences import weighted
from service.problems.response import Problem

DEFAULT_FORMAT = {2: "png", 3: "nifti"}
ANYTHING = "*/*"
"""What most clients send as ``Accept``."""
MOST_LETTERS = 1024
"""Of an ``Accept`` header; browsers send 150."""

Container = Literal["zip", "multipart"]
CONTAINER_TYPES: Mapping[Container, str] = {
    "zip": "application/zip",
    "multipart": "multipart/mixed",
}


@functools.cache
def formats_for(dims: int) -> Mapping[str, Output]:
    """What can be had of an image of 2 or 3 dimensions, the default first."""
    outputs = outputs_for(dims)
    names = sorted(outputs, key=lambda name: name != DEFAULT_FORMAT[dims])
    return MappingProxyType({name: outputs[name] for name in names})


def choose_formats(
    names: Sequence[str], accept: str | None, formats: Mapping[str, Output]
) -> tuple[str, ...]:
    """The formats that a request asks for, by name or else by its ``Accept`` header.

    Raises:
        Problem: 422 for a name that is not known, 406 for an ``Accept`` that no format meets.
    """
    for name in names:
        if name not in formats:
            raise Problem(422, f"format must be one of {', '.join(formats)}, got {name[:40]!r}")
    if names:
        return tuple(dict.fromkeys(names))
    default = next(iter(formats))
    if accept in (None, "", ANYTHING):
        return (default,)
    ranges = _media_ranges(accept)
    masks = {name: output for name, output in formats.items() if output.map is None}
    best = max(masks, key=lambda name: _quality(masks[name].media_type, ranges))
    if _quality(masks[best].media_type, ranges) > 0:
        return (best,)
    if container_asked_for(accept):
        return (default,)
    offered = ", ".join(
        dict.fromkeys([*(each.media_type for each in masks.values()), *CONTAINER_TYPES.values()])
    )
    raise Problem(406, f"no mask format meets the Accept header; this model offers {offered}")


def container_asked_for(accept: str | None) -> Container | None:
    """The container that an ``Accept`` header names; wildcards name none."""
    if accept in (None, "", ANYTHING):
        return None
    named = {name: quality for name, quality in _media_ranges(accept) if quality > 0}
    wanted = [kind for kind, name in CONTAINER_TYPES.items() if name in named]
    return max(wanted, key=lambda kind: named[CONTAINER_TYPES[kind]], default=None)


def _media_ranges(accept: str) -> list[tuple[str, float]]:
    """Media ranges of an ``Accept`` header with their quality, most specific first.

    Raises:
        Problem: 422, it is too long.
    """
    if len(accept) > MOST_LETTERS:
        raise Problem(422, f"an Accept header has up to {MOST_LETTERS:,} letters here")
    return sorted(weighted(accept), key=lambda pair: pair[0].count("*"))


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Quality of the most specific range that a media type falls into, 0 where none does."""
    essence = media_type.partition(";")[0]
    family = essence.partition("/")[0] + "/*"
    return next((q for name, q in ranges if name in (essence, family, "*/*")), 0.0)
