"""Which file format an answer gets."""

from collections.abc import Mapping, Sequence

from seg.images import MASK_FORMATS, MaskFormat
from service.problems import Problem

DEFAULT_FORMAT = {2: "png", 3: "nifti"}


def formats_for(dims: int) -> dict[str, MaskFormat]:
    """The formats that can hold a mask of 2 or 3 dimensions, the default first."""
    names = sorted(MASK_FORMATS, key=lambda name: name != DEFAULT_FORMAT[dims])
    return {name: MASK_FORMATS[name] for name in names if dims in MASK_FORMATS[name].dims}


def choose_format(
    name: str | None, accept: str | None, formats: Mapping[str, MaskFormat]
) -> MaskFormat:
    """The format that a request asks for, by name or else by its ``Accept`` header.

    Raises:
        Problem: 422 for a name that is not known, 406 for an ``Accept`` that no format meets.
    """
    if name is not None:
        if name not in formats:
            raise Problem(422, f"format must be one of {', '.join(formats)}, got {name[:40]!r}")
        return formats[name]
    ranges = _media_ranges(accept or "*/*")
    best = max(formats.values(), key=lambda candidate: _quality(candidate.media_type, ranges))
    if _quality(best.media_type, ranges) > 0:
        return best
    offered = ", ".join(dict.fromkeys(f.media_type for f in formats.values()))
    raise Problem(406, f"no mask format meets the Accept header; this model offers {offered}")


def _media_ranges(accept: str) -> list[tuple[str, float]]:
    """Media ranges of an ``Accept`` header with their quality, most specific first."""
    ranges: list[tuple[str, float]] = []
    for part in accept.lower().split(","):
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((_number(p[2:]) for p in parameters if p.startswith("q=")), 1.0)
        ranges.append((media_range, quality))
    return sorted(ranges, key=lambda pair: pair[0].count("*"))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Quality of the most specific range that a media type falls into, 0 where none does."""
    essence = media_type.partition(";")[0]
    family = essence.partition("/")[0] + "/*"
    return next((q for name, q in ranges if name in (essence, family, "*/*")), 0.0)
