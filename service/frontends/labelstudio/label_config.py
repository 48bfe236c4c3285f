"""What a project of Label Studio is set up to draw: its ``label_config``."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from seg.images import ClassInfo
from service.problems.response import Problem

RegionKind = Literal["brushlabels", "polygonlabels"]
"""Regions that we draw."""
DRAWN: Mapping[str, RegionKind] = {"BrushLabels": "brushlabels", "PolygonLabels": "polygonlabels"}
READ = (*DRAWN, "RectangleLabels", "EllipseLabels", "Labels")
"""Tags whose labels people may draw with."""
MOST_LETTERS = 1 << 18
_DECLARES = re.compile(r"<!\s*(DOCTYPE|ENTITY)", re.IGNORECASE)


@dataclass(frozen=True)
class LabelConfig:
    """The control that answers, the image that it draws on, and the project's labels."""

    from_name: str
    to_name: str
    key: str
    """Of a task's data: where its image is."""
    kind: RegionKind
    drawn: tuple[str, ...]
    """Labels of that control, as annotations hold them."""
    meant: Mapping[str, tuple[str, ...]]
    """By what a label of any control may be meant, in small letters."""

    @classmethod
    def parsed(cls, text: str) -> "LabelConfig":
        """Read it.

        Raises:
            Problem: 422, it is none, or nothing in it draws regions on an image.
        """
        if len(text) > MOST_LETTERS or _DECLARES.search(text):
            raise Problem(422, "a label_config is a short XML document without declarations")
        try:
            root = ElementTree.fromstring(text)
        except ElementTree.ParseError:
            raise Problem(422, "the label_config is no XML document") from None
        controls = [each for each in root.iter() if each.tag in DRAWN]
        if not controls:
            raise Problem(
                422,
                f"this project draws with none of {', '.join(DRAWN)}: we have no answer",
            )
        control = controls[0]
        to_name = control.get("toName", "").split(",")[0]
        images = {each.get("name"): each for each in root.iter("Image")}
        value = images[to_name].get("value") if to_name in images else None
        if not value or not control.get("name"):
            raise Problem(
                422,
                f'{control.tag} needs a name, and as toName that of an <Image value="$..."/> with '
                "one image a task",
            )
        labels = _labels_of(root)
        meant = {label: names for tag in READ for label, names in labels[tag].items()}
        return cls(
            from_name=control.get("name", ""),
            to_name=to_name,
            key=value.removeprefix("$"),
            kind=DRAWN[control.tag],
            drawn=tuple(_labels_of(control)[control.tag]),
            meant=meant,
        )

    def label_of(self, classes: Sequence[ClassInfo]) -> dict[int, str]:
        """The label of each class by its index; a class that no label means has none.

        Raises:
            Problem: 422, no label means a class.
        """
        found = {
            info.index: label
            for info in classes
            if info.index
            for label in reversed(self.drawn)
            if info.name.lower() in self.meant[label]
        }
        if not found:
            names = ", ".join(info.name for info in classes if info.index)
            raise Problem(
                422,
                f"no label of this project is a class of the model, which has {names}; name labels "
                'so, or say what they mean: <Label value="..." predicted_values="CLASS"/>',
            )
        return found

    def class_of(self, classes: Sequence[str]) -> dict[str, str]:
        """The class that each label means, where it means one."""
        by_name = {name.lower(): name for name in classes}
        return {
            label: by_name[name]
            for label, names in self.meant.items()
            for name in reversed(names)
            if name in by_name
        }


def _labels_of(root: ElementTree.Element) -> dict[str, dict[str, tuple[str, ...]]]:
    """Of each tag that is read, the labels that annotations hold, and by what each may be meant.

    A label is that of the control next around it: each is looked at once, however deep they lie.
    """
    found: dict[str, dict[str, tuple[str, ...]]] = {tag: {} for tag in READ}
    waiting = [(root, "")]
    while waiting:
        each, control = waiting.pop()
        if each.tag in found:
            control = each.tag
        elif each.tag == "Label" and control:
            value, alias = each.get("value", ""), each.get("alias")
            others = each.get("predicted_values", "").split(",")
            names = (value, *([alias] if alias else []), *others)
            meant = tuple(name.strip().lower() for name in names if name.strip())
            found[control][alias or value] = meant
        waiting += [(child, control) for child in reversed(each)]
    return found
