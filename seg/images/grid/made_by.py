"""What made a mask, and what it knows of it, for the formats that say so."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeBy:
    """A model: its package's name and version, and the hash that tells it from all others."""

    model: str
    version: str = ""
    sha256: str = ""
    """Of the package's card, which holds the hashes of its networks."""
    precision: str = ""
    """Of the network's arithmetic, e.g. ``float32``; empty where it is not known."""
    variant: str = ""
    """Of the package, where one was chosen; empty where it answered by itself."""
    overlap: float | None = None
    """Share of a window that its neighbour covered as well."""
    run: str = ""
    """Names one segmentation, so that its objects may refer to each other; new ones each time
    where it is empty."""
    beside: tuple[str, ...] = ()
    """All formats that are written of that segmentation, and stored together."""
    predicted_dice: Mapping[str, float] = field(default_factory=dict)
    """By class, as far as the model predicts it."""
    expected_error: Mapping[str, float] = field(default_factory=dict)
    """Usual error of that prediction, by class."""
    warnings: tuple[str, ...] = ()
    """In which ways the image is unlike those of the training, as sentences."""
    is_draft: bool = False
    """Predicted to be worse than who runs the model lets pass: objects say so."""

    def __str__(self) -> str:
        """Name and version."""
        return f"{self.model} {self.version}".strip()
