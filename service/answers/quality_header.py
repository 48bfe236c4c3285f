"""What the model knows of its own mask, as a header and in a JSON summary."""

import json
from typing import Any

from seg.inference import Quality, Segmentation
from seg.objects import Objects, counts_in_json
from seg.sentences import coded

QUALITY_HEADER = "X-Segmentation-Quality"
OBJECTS_HEADER = "X-Segmentation-Objects"
MOST_HEADER_BYTES = 4000
"""Proxies refuse heads of more than 8 kB."""
DIGITS = 4


def as_header(found: Segmentation) -> str:
    """JSON of ASCII letters in one line; without codes and classes where they are too many."""
    plain = as_plain(found)
    text = json.dumps(plain)
    if len(text) > MOST_HEADER_BYTES:
        del plain["warning_codes"]
        text = json.dumps(plain)
    if len(text) > MOST_HEADER_BYTES:
        text = json.dumps(plain | {"predicted_dice": {}, "see": "?format=json"})
    return text


def objects_as_header(objects: Objects | None) -> str | None:
    """How many objects there are, as JSON of ASCII letters in one line; None without objects."""
    if objects is None:
        return None
    plain = counts_in_json(objects)
    text = json.dumps(plain)
    if len(text) > MOST_HEADER_BYTES:
        text = json.dumps(plain | {"classes": {}, "see": "?format=objects"})
    return text


def with_quality(summary: bytes, found: Segmentation) -> bytes:
    """The JSON summary of a mask with its quality, and how many objects there are."""
    more: dict[str, Any] = {"quality": as_plain(found)}
    if found.objects is not None:
        more["objects"] = counts_in_json(found.objects)
    return json.dumps(json.loads(summary) | more, indent=2).encode()


def as_plain(found: Segmentation) -> dict[str, Any]:
    """For JSON; ``predicted_dice`` by class, with its expected error, and how the network ran."""
    quality = found.quality
    errors = quality.expected_error
    plain: dict[str, Any] = {
        "predicted_dice": {
            name: {"dice": round(dice, DIGITS), "expected_error": _rounded(errors.get(name))}
            | _interval(quality, name)
            for name, dice in quality.predicted_dice.items()
        },
        "uncertainty": _rounded(quality.uncertainty),
        "warnings": quality.warnings,
        "warning_codes": coded(quality.warnings),
    }
    if quality.strangeness is not None:
        plain["strangeness"] = _rounded(quality.strangeness)
    if quality.disagreement is not None:  # its map was asked for
        plain["disagreement"] = _rounded(quality.disagreement)
    if found.made_by is not None and found.made_by.precision:
        plain["precision"] = found.made_by.precision
        plain["overlap"] = found.made_by.overlap
    return plain


def _interval(quality: Quality, name: str) -> dict[str, list[float]]:
    limits = quality.interval.get(name)
    return {} if limits is None else {"interval": [round(each, DIGITS) for each in limits]}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
