"""Records that are checked where they are read, and never change."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

SMALLEST_MM, LARGEST_MM = 1e-8, 1e6
"""Of a voxel: a tenth of an atom, and a kilometre."""

Millimetres = Annotated[float, Field(ge=SMALLEST_MM, le=LARGEST_MM)]
"""Of a voxel's edge."""


class FrozenData(BaseModel):
    """A record of a file: frozen, and a field that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
