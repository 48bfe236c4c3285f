"""Which series that are sent are segmented, by which model, and where results go.

``SEG_DICOM_RULES`` is a YAML file: a list, of which the first entry that fits a series decides, and
where none fits nothing is done::

    - modality: CT                 # as DICOM has it
      description: liver|abdomen   # regular expression, found anywhere, in letters of any size
      slices: [40, 2000]           # at least and at most; null for no bound
      thickness_mm: [0, 5]
      orientation: axial           # axial, sagittal, coronal, oblique
      model: liver                 # name or name:version; none is the default model
      format: [dicom-seg, dicom-sr]
      destination: ward            # a name of SEG_DICOMWEB; none is the first of them
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from seg.errors import ConfigError
from seg.images.dicom.instance_facts import Direction, InstanceFacts, are_two
from seg.model_package import ModelCard

TOLD_APART = frozenset({"CT", "MR", "PT"})
"""Modalities of channels by which a model says what it is for."""


COMPUTED = frozenset({"RTDOSE"})
"""Modalities of images that no scanner made: a rule may name them."""


@dataclass(frozen=True)
class SeriesFacts:
    """A series, as far as it has come."""

    series: str
    study: str
    modality: str
    description: str
    thickness_mm: float | None
    direction: Direction
    slices_of: Mapping[str, int] = field(default_factory=dict)
    """Slices in each instance, by SOPInstanceUID."""
    looks_of: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What tells each from another image of its name; of older versions nothing is known."""

    @property
    def slices(self) -> int:
        """Of its volume."""
        return sum(self.slices_of.values())

    @classmethod
    def of(cls, instances: Iterable[InstanceFacts]) -> "SeriesFacts":
        """Of one series; the first image of it stands for all."""
        found = list(instances)
        first = next((each for each in found if each.slices), found[0])
        return cls(
            series=first.series,
            study=first.study,
            modality=first.modality,
            description=first.description,
            thickness_mm=first.thickness_mm,
            direction=first.direction,
            slices_of={each.instance: each.slices for each in found},
            looks_of={each.instance: each.look for each in found},
        )

    def clashes_with(self, other: "SeriesFacts") -> set[str]:
        """SOPInstanceUIDs that name one image here and another one there."""
        both = set(self.looks_of) & set(other.looks_of)
        return {uid for uid in both if are_two(self.looks_of[uid], other.looks_of[uid])}

    def and_more(self, other: "SeriesFacts") -> "SeriesFacts":
        """With instances that came before, whose images stand for a name that both have."""
        main = self if self.slices else other
        return replace(
            main,
            slices_of={**self.slices_of, **other.slices_of},
            looks_of={**self.looks_of, **other.looks_of},
        )


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Bounds = tuple[float | None, float | None]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class SeriesRule(BaseModel):
    """What is done with series of a kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    modality: Names = ()
    description: str | None = None
    slices: Bounds = (None, None)
    thickness_mm: Bounds = (None, None)
    orientation: Annotated[tuple[Direction, ...], BeforeValidator(_listed)] = ()
    model: str | None = None
    format: Annotated[Names, Field(min_length=1)] = ("dicom-seg",)
    destination: str | None = None

    def fits(self, series: SeriesFacts, *, growing: bool = False) -> bool:
        """Whether it is about a series, or about what it may grow into."""
        if self.modality and series.modality not in self.modality:
            return False
        if self.description and not re.search(self.description, series.description, re.IGNORECASE):
            return False
        if self.orientation and series.direction not in self.orientation:
            return False
        thickness = series.thickness_mm
        is_thick = self.thickness_mm == (None, None) or (
            thickness is not None and _within(thickness, self.thickness_mm)
        )
        low, high = self.slices
        least = 1 if growing else (low or 1)
        return is_thick and _within(series.slices, (least, high))


EVERYTHING = (SeriesRule(),)
"""Where the operator has written no rules."""


def read_rules(path: Path | None, destinations: Collection[str]) -> tuple[SeriesRule, ...]:
    """The rules of a file.

    Args:
        path: of the file; None is a rule for everything.
        destinations: where results may go.

    Raises:
        ConfigError: it cannot be read, or says what cannot be.
    """
    if path is None:
        return EVERYTHING
    try:
        entries: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        rules = TypeAdapter(tuple[SeriesRule, ...]).validate_python(entries)
        for rule in rules:
            re.compile(rule.description or "")
    except (OSError, UnicodeDecodeError, yaml.YAMLError, re.error) as error:
        raise ConfigError(
            f"SEG_DICOM_RULES cannot be read ({type(error).__name__}); it is a list in YAML, as "
            "docs/clinic.md shows it"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ConfigError(f"SEG_DICOM_RULES: {where}: {first['msg'].lower()}") from None
    for rule in rules:
        if rule.destination is not None and rule.destination not in destinations:
            known = ", ".join(destinations) or "none"
            raise ConfigError(
                f"SEG_DICOM_RULES: there is no destination {rule.destination!r}; there is {known}"
            )
    return rules


def suits(series: SeriesFacts, card: ModelCard) -> bool:
    """Whether a model is for series of this kind: volumes or pictures, and of its modality."""
    if series.modality in COMPUTED:
        return False
    is_volume = series.slices > 1
    modalities = {channel.modality for channel in card.input.channels} & TOLD_APART
    is_of_it = not modalities or series.modality in modalities
    return is_volume == (card.input.dims == 3) and is_of_it and len(card.input.channels) == 1


def _within(number: float, bounds: Bounds) -> bool:
    low, high = bounds
    return (low is None or number >= low) and (high is None or number <= high)
