"""Records that are checked where they are read, and never change."""

from pydantic import BaseModel, ConfigDict


class FrozenData(BaseModel):
    """A record of a file: frozen, and a field that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
