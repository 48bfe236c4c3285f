"""What a caller hands over: an image, and options as ``docs/serving.md`` explains them."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Literal, TypedDict

Image = Path | str | bytes | Sequence[Path | str | bytes]
"""A file, or its content; several are the channels of one image."""


class Wanted(TypedDict, total=False):
    """Options, as ``docs/serving.md`` explains them."""

    model: str
    format: str | Sequence[str]
    classes: Sequence[str]
    threshold: float
    split: bool
    mirror: bool
    measurements: bool
    series: str
    frame: str
    quality: Literal["full", "balanced", "fast"]
    deadline_ms: float


def channels_of(image: Image) -> list[tuple[str, Path | str | bytes]]:
    """Parts of the body, one a channel."""
    channels = [image] if isinstance(image, Path | str | bytes) else image
    return [("image", channel) for channel in channels]


def open_file(file: Path | str | bytes, opened: ExitStack) -> bytes | BinaryIO:
    """A file of a body, closed with ``opened``."""
    return file if isinstance(file, bytes) else opened.enter_context(Path(file).open("rb"))


def query_of(wanted: Wanted) -> dict[str, str]:
    """The options as an address has them."""
    return {name: _as_text(value) for name, value in wanted.items()}


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    assert isinstance(value, Iterable)
    return ",".join(map(str, value))
