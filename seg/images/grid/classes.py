"""The classes of a mask."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class ClassInfo(BaseModel):
    """One class of the mask; index 0 is background."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: Annotated[int, Field(ge=0, le=255)]
    name: str
    color: tuple[
        Annotated[int, Field(ge=0, le=255)],
        Annotated[int, Field(ge=0, le=255)],
        Annotated[int, Field(ge=0, le=255)],
    ]
    """Red, green, blue."""
