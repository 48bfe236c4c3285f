"""The image that a package carries for people who have none at hand."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from seg.errors import ConfigError
from seg.files import sha256_of
from seg.images import read_channels
from seg.model_package.card import Example, ModelCard
from seg.model_package.folder import read_card, write_card

SUFFIXES = (".nii.gz", ".ome.tif", ".seg.nrrd")
"""Of two parts; of all other names the last one is kept."""


def add_example(folder: Path, sources: Sequence[Path], about: str = "") -> ModelCard:
    """Copy an image into a package, under a name that tells nothing, and write the card anew.

    Args:
        folder: of the package.
        sources: one file with all channels, or one a channel.
        about: what it shows, where it is from, and its licence.

    Raises:
        ConfigError: it has other channels than the model takes, or is no single file.
        ImageError: it cannot be read.
        PackageError: the folder is no package.
        OSError: it cannot be copied.
    """
    card = read_card(folder)
    folders = [source for source in sources if source.is_dir()]
    if folders:
        raise ConfigError(f"an example is a file that a browser can send, {folders[0]} is a folder")
    image = read_channels(list(sources), dims=card.input.dims)
    wanted = len(card.input.channels)
    if image.channels < wanted:
        raise ConfigError(f"the model takes {wanted} channels, the example has {image.channels}")
    names = [f"example-{number}{_suffix(source)}" for number, source in enumerate(sources)]
    before = set(card.example.files if card.example else ()) - set(names)
    for source, name in zip(sources, names, strict=True):
        shutil.copyfile(source, folder / name)
    hashes = tuple(sha256_of(folder / name) for name in names)
    example = Example(files=tuple(names), sha256=hashes, about=about)
    new = card.model_copy(update={"example": example})
    write_card(folder, new)
    for name in before:
        (folder / name).unlink(missing_ok=True)
    return new


def _suffix(source: Path) -> str:
    name = source.name.lower()
    return next((each for each in SUFFIXES if name.endswith(each)), source.suffix.lower())
