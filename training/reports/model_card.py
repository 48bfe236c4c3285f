"""The model card of a package, in words."""

from collections.abc import Sequence
from pathlib import Path

import jinja2

from seg.files import replace_file
from seg.model_package import ModelCard

TO_FILL = "**TO FILL**"


def write_model_card(card: ModelCard, target: Path) -> None:
    """Write the card as Markdown."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=False,  # Markdown, for whoever made the names
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = lambda name: name.replace("|", r"\|")
    page = environment.get_template("model_card.md.j2").render(
        card=card,
        channels=_listed([f"{each.name} ({each.modality})" for each in card.input.channels]),
        foreground=_listed([each.name for each in card.classes[1:]]),
        variants=_listed([f"{each.name} ({each.precision})" for each in card.variants]),
        spacing=_spacing(card),
        sizes=_sizes(card),
    )
    replace_file(target, page.encode())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _spacing(card: ModelCard) -> str:
    seen = card.fingerprint.spacing
    if seen is None:
        return "Spacing of the training images: not stated"
    ranges = (f"{low:g}" if low == high else f"{low:g} to {high:g}" for low, high in seen)
    return f"Spacing of the training images, an axis: {' x '.join(ranges)} mm"


def _sizes(card: ModelCard) -> str:
    ranges = (f"{a}" if a == b else f"{a} to {b}" for a, b in card.fingerprint.shape)
    return f"Sizes of the training images: {' x '.join(ranges)} voxels"
