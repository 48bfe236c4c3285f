"""The classes of a mask."""

from typing import Annotated

from pydantic import Field

from seg.frozen import FrozenData


class Code(FrozenData):
    """A concept in a coding scheme, as DICOM objects name anatomy: SNOMED CT unless it says so."""

    value: Annotated[str, Field(min_length=1, max_length=16)]
    """``64033007``"""
    meaning: Annotated[str, Field(min_length=1, max_length=64)]
    """``Kidney``"""
    scheme: Annotated[str, Field(min_length=1, max_length=16)] = "SCT"


class ClassInfo(FrozenData):
    """One class of the mask; index 0 is background."""

    index: Annotated[int, Field(ge=0, le=255)]
    name: str
    color: tuple[
        Annotated[int, Field(ge=0, le=255)],
        Annotated[int, Field(ge=0, le=255)],
        Annotated[int, Field(ge=0, le=255)],
    ]
    """Red, green, blue."""
    category: Code | None = None
    """What kind of thing it is, such as anatomical structure or morphologically abnormal one."""
    type: Code | None = None
    """What it is, such as kidney or neoplasm."""
    laterality: Code | None = None
    """Its side, such as left."""
    values: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Numbers that stood for it in the masks of the training; empty where no numbers did."""
