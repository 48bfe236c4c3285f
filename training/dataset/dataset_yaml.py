"""``dataset.yaml``: what the files of a folder do not say by themselves.

::

    name: vessels
    licence: CC-BY-4.0
    classes:                        # without it the values in the masks are the classes
      - {name: background, value: 0}
      - {name: vessel, value: 255, color: [230, 159, 0]}
      - {name: bleeding, values: [3, 4]}    # several values: classes overlap
      - name: left kidney                   # codes, of SNOMED CT, that DICOM objects name it by
        type: {value: "64033007", meaning: Kidney}
        laterality: {value: "7771000", meaning: Left}
    masks: values                   # or colors (RGB masks), or instances (object numbers)
    objects: objects.csv            # of instances: columns case, label and class
    ignore: 128                     # value, or color, of what nobody annotated
    channels: [red, green, blue]    # {name: CT, modality: CT} says more
    left_right: y                   # axis between left and right where files do not say it
    subjects: {pattern: "(p[0-9]+)_.*"}     # or {file: subjects.csv}
    split: {test: [p7_a, p9_b]}     # or the name of a text file with one case a line
    unannotated: left out           # images without a mask, which are refused otherwise
"""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from seg.errors import DatasetError
from seg.frozen import FrozenData
from seg.images import Code
from seg.model_package import Channel
from seg.verbs import called
from training.dataset.names import entry_called
from training.dataset.text_files import said_of, text_of

CARD = "dataset.yaml"
NAMES = (CARD, "dataset.yml")

Byte = Annotated[int, Field(ge=0, le=255)]
Color = tuple[Byte, Byte, Byte]
Value = Annotated[int, Field(ge=0)]
MaskKind = Literal["values", "colors", "instances"]


_NOTHING = (
    *("background", "bg", "unlabel", "unknown", "none", "void", "other", "outside"),
    *("empty", "nothing", "rest", "air"),
)
"""Words for what is no class."""


class DatasetYamlClass(FrozenData):
    """A class and how mask files show it."""

    name: str
    value: Value | None = None
    values: Annotated[tuple[Value, ...], Field(min_length=1)] | None = None
    color: Color | None = None
    category: Code | None = None
    type: Code | None = None
    laterality: Code | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "DatasetYamlClass":
        if self.value is not None and self.values is not None:
            raise ValueError(f"class {self.name} has value and values; keep one of them")
        _check_name(self.name)
        return self


class Subjects(FrozenData):
    """Which cases belong together, by a pattern on their names or by a table."""

    pattern: str | None = None
    """Its first group is the subject."""
    file: str | None = None
    """CSV with a header."""
    case: str = "case"
    subject: str = "subject"
    """Columns of the file."""

    @model_validator(mode="after")
    def _one_way(self) -> "Subjects":
        if (self.pattern is None) == (self.file is None):
            raise ValueError("subjects need either a pattern or a file")
        return self


class SplitLists(FrozenData):
    """Own lists: names, or a text file with one name a line."""

    test: Annotated[tuple[str, ...], Field(min_length=1)] | str
    train: tuple[str, ...] | str | None = None
    """All others where it is left out."""


class DatasetYaml(FrozenData):
    """``dataset.yaml``."""

    name: str | None = None
    licence: str | None = None
    classes: tuple[str | DatasetYamlClass, ...] = ()
    masks: MaskKind = "values"
    objects: str | None = None
    """Of instances: a table that says the class of each, with columns case, label and class."""
    ignore: Value | Color | None = None
    channels: tuple[str | Channel, ...] = ()
    left_right: Literal["x", "y", "z"] | None = None
    """Axis of the array between left and right, of classes that have sides; x, the horizontal,
    where neither this nor an affine says it."""
    subjects: Subjects | None = None
    split: SplitLists | None = None
    unannotated: Literal["refused", "left out"] = "refused"
    """Images without a mask: somebody forgot it, or has not come to them yet."""

    @field_validator("classes", mode="before")
    @classmethod
    def _by_name(cls, classes: Any) -> Any:
        """Names with their values, as nnU-Net writes labels, are a list of classes too."""
        if not isinstance(classes, dict):
            return classes
        return [
            {"name": name, ("values" if isinstance(value, list) else "value"): value}
            for name, value in classes.items()
        ]

    @model_validator(mode="after")
    def _names(self) -> "DatasetYaml":
        for each in self.classes:
            _check_name(each if isinstance(each, str) else each.name)
        self._check_background()
        return self

    def first_of_all(self) -> str | None:
        """The name of the first class, background's place, where it sounds like anything else."""
        if not self.classes:
            return None
        first = self.classes[0]
        name = first if isinstance(first, str) else first.name
        return None if any(word in name.lower() for word in _NOTHING) else name

    def _check_background(self) -> None:
        """The first class is background: what else says so must not contradict it.

        Raises:
            ValueError: another one is called so, or has the value 0, which only masks that are
                inside out give to another one.
        """
        first = self.first_of_all()
        for each in self.classes[1:]:
            name, value = (each, None) if isinstance(each, str) else (each.name, each.value)
            if first is not None and (value == 0 or name.lower() == "background"):
                raise ValueError(
                    f"the first class is what is none of the others; list {name} first, with its "
                    "value where that is not 0"
                )
        if len(self.classes) == 1:
            raise ValueError("background is a class too, the first one: [background, ...]")


def _check_name(name: str) -> None:
    if name == "ignore":
        raise ValueError("ignore is no class; write ignore: VALUE beside classes")


_CARDS_OF_OTHERS = (
    *("classes", "class_names", "names", "labels", "label_map", "labelmap", "categories", "config"),
    *("data", "info", "meta", "metadata", "split", "splits", "splits_final", "fold", "folds"),
    *("train", "training", "test", "testing", "val", "valid", "validation"),
)
"""Names, without their ending, under which people tell other programs what is in a dataset."""
_CARD_ENDINGS = (".yaml", ".yml", ".json", ".json5", ".toml", ".txt", ".csv", ".ini")
_ALIKE = 0.75


def cards_passed_over(folder: Path) -> list[Path]:
    """Files that seem to say what is in a dataset and are not read, where no card is."""
    if any(entry_called(folder, [name]) for name in NAMES):
        return []
    found = []
    for entry in sorted(folder.iterdir()):
        stem, *endings = entry.name.lower().split(".")
        bare = stem.strip("_- ").removesuffix("_csv")
        is_text = bool(endings) and f".{endings[-1]}" in _CARD_ENDINGS and entry.is_file()
        is_near = bare in _CARDS_OF_OTHERS or bool(
            get_close_matches(bare, ["dataset"], cutoff=_ALIKE)
        )
        if is_text and is_near:
            found.append(entry)
    return found


def read_card(folder: Path) -> DatasetYaml:
    """The folder's ``dataset.yaml``; an empty one where there is none.

    Raises:
        DatasetError: it cannot be read, or says something that is not known.
    """
    both = [path for name in NAMES if (path := entry_called(folder, [name]))]
    if len(both) > 1:
        raise DatasetError(f"{both[0]} lies beside {both[1].name}; keep one of them")
    path = both[0] if both else None
    if path is None or not path.is_file():
        return DatasetYaml()
    try:
        raw = _Loader(text_of(path)).get_single_data()
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise DatasetError(f"{path} cannot be read: {error.problem}{line}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DatasetError(f"{path}: {said_of(error)}") from error
    if raw is not None and not isinstance(raw, dict):
        raise DatasetError(f"{path} holds fields and what they are, such as classes: [a, b]")
    try:
        return DatasetYaml.model_validate({} if raw is None else raw)
    except ValidationError as error:
        raise DatasetError(f"{path} {_in_words(error.errors())}") from error


class _Loader(yaml.SafeLoader):
    """Refuses a field that is there twice: which one counts, nobody could tell."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping, as of YAML 1.2.

        Raises:
            ConstructorError: a key is there twice.
        """
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            problem = f"{twice[0]} is there twice"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_mapping(node, deep)


def _in_words(errors: list[ErrorDetails]) -> str:
    # of a union every branch complains; the one that got furthest knows what was meant
    error = max(errors, key=lambda e: (e["type"] == "value_error", len(e["loc"])))
    place = [str(part) for part in error["loc"] if not _is_branch(part)]
    where = ".".join(place) or "its top"
    if error["type"] == "extra_forbidden":
        hint = _near(str(error["loc"][-1]), at_top=len(place) < 2)
        return f"is not valid at {where}: no such field{hint}"
    if error["type"] == "string_type" and isinstance(error["input"], bool | int | float):
        # YAML takes yes, no, on, off for truth values
        return f'is not valid at {where}: a name that is a number or yes or no needs quotes, "..."'
    if error["type"] in _PLAIN:
        return f"is not valid at {where}: {_PLAIN[error['type']]}"
    return f"is not valid at {where}: {error['msg'].removeprefix('Value error, ')}"


_PLAIN = {
    "tuple_type": "a list is needed, [a, b]",
    "too_short": "at least one entry is needed",
    "model_type": "fields and what they are, {name: a, value: 1}, are needed",
}
"""What pydantic says of its own types, in words of the file."""


def _is_branch(part: int | str) -> bool:
    """Pydantic puts the names of types into places."""
    return isinstance(part, str) and (part[:1].isupper() or "[" in part or part in ("int", "str"))


_INSTEAD = {
    "fold": f"split: {{test: [a, b]}}; folds are made by {called('training.fit', '--folds')}",
    "folds": f"split: {{test: [a, b]}}; folds are made by {called('training.fit', '--folds')}",
    "test": "split: {test: [a, b]}",
    "labels": "classes",
    "values": "classes",
    "ignore_label": "ignore",
    "ignore_index": "ignore",
    "instances": "masks: instances",
    "colors": "masks: colors",
    "patients": "subjects",
    "modality": "channels",
    "modalities": "channels",
    "channel_names": "channels",
}
"""What other programs call it, and what it is called here."""


def _near(name: str, *, at_top: bool) -> str:
    if at_top and name.lower() in _INSTEAD:
        return f"; write {_INSTEAD[name.lower()]}"
    models = (DatasetYaml,) if at_top else (DatasetYamlClass, Subjects, SplitLists, Channel)
    known = sorted({field for model in models for field in model.model_fields})
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def refuse(card: DatasetYaml, fields: Iterable[str], where: str) -> None:
    """Say that another file already settles these fields.

    Raises:
        DatasetError: ``dataset.yaml`` sets one of them.
    """
    twice = [name for name in fields if name in card.model_fields_set]
    if twice:
        raise DatasetError(f"{CARD} and {where} both set {', '.join(twice)}; keep it in {where}")
