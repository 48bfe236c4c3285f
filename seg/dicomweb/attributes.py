"""Attributes in the JSON of DICOM. Source: DICOM PS3.18, F.2."""

from typing import Any


def values_of(entry: dict[str, Any], tag: str) -> list[Any]:
    """All values of an attribute; none where it is not there.

    Raises:
        AttributeError: this is no such JSON.
        TypeError: likewise.
    """
    values = entry.get(tag, {}).get("Value") or []
    if not isinstance(values, list):
        raise TypeError("the values of an attribute are a list")
    return values


def value_of(entry: dict[str, Any], tag: str) -> Any:
    """The first value of an attribute; None where it has none.

    Raises:
        AttributeError: this is no such JSON.
        TypeError: likewise.
    """
    return (values_of(entry, tag) or [None])[0]
