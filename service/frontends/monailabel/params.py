"""What ``params`` of a client may ask for; nothing in it names the model or the image."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from service.problems.response import Problem

VOLUME_ENDINGS = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".mha")
FLAT_ENDINGS = (*VOLUME_ENDINGS, ".png", ".tiff", ".tif")
MOST_QUOTED = 40


def _first(value: object) -> object:
    """A list of choices, sent back as it was offered, means its first."""
    return value[0] if isinstance(value, list) and value else value


def _absent(value: object) -> object:
    """Empty fields and 0, as the options are offered, leave it to the model."""
    return None if value in ("", 0, "0", "0.0") else value


class InferParams(BaseModel):
    """The fields that are obeyed; all others are passed over, as MONAI Label does."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    result_extension: str | None = None
    """Ending of the file; None is that of the image where it can be written."""
    result_dtype: Literal["uint8", "uint16", "uint32", "int16", "int32"] | None = None
    result_compress: bool = False
    """Whether an NRRD file is packed; OHIF reads raw ones alone."""
    restore_label_idx: bool = False
    """Number chosen classes as ``/info/`` does, and not from 1 in the order of their choice."""
    label_prompt: tuple[int, ...] | None = None
    """The only classes that are wanted, by their numbers in ``/info/``."""
    threshold: Annotated[float | None, Field(gt=0, lt=1), BeforeValidator(_absent)] = None
    mirror: bool = False
    quality: Annotated[str | None, BeforeValidator(_first)] = None

    def query(self, model: str) -> dict[str, str]:
        """The options of ``POST /segment``, but for format and classes."""
        told = {"model": model, "quality": self.quality, "threshold": self.threshold}
        query = {name: str(value) for name, value in told.items() if value is not None}
        return query | ({"mirror": "true"} if self.mirror else {})

    def ending(self, image: str, dims: int) -> str:
        """Ending of the file that answers.

        Args:
            image: ending of the image's name, or nothing.
            dims: of the model's images.

        Raises:
            Problem: 422, no such file is written.
        """
        endings = VOLUME_ENDINGS if dims == 3 else FLAT_ENDINGS
        if self.result_extension is None:
            return image if image in endings else {2: ".png", 3: ".nii.gz"}[dims]
        wanted = "." + self.result_extension.lower().lstrip(".")
        if wanted not in endings:
            raise Problem(
                422,
                f"result_extension is one of {', '.join(endings)}, "
                f"got {self.result_extension[:MOST_QUOTED]!r}",
            )
        return wanted


def params_of(text: str) -> InferParams:
    """What the JSON text of ``params`` asks for.

    Raises:
        Problem: 422, it is no JSON object, or a field cannot be what it is.
    """
    try:
        return InferParams.model_validate(json_object(text))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise Problem(422, f"{name} in params cannot be so: {first['msg'].lower()}") from None


def json_object(text: str) -> Mapping[str, Any]:
    """The object of a field of a form; an empty field is an empty one.

    Raises:
        Problem: 422, it is none.
    """
    found = _parsed(text)
    if not isinstance(found, dict):
        raise Problem(422, "params is a JSON object, as text in a field without a file name")
    return found


def training_params(body: bytes) -> dict[str, Any]:
    """Parameters of a training; none where nothing is sent.

    Raises:
        Problem: 422, they are no JSON object.
    """
    params = _parsed(body)
    if not isinstance(params, dict):
        raise Problem(422, "the parameters of a training are a JSON object")
    return params


def _parsed(text: str | bytes) -> object:
    """What can be sent back as it came: no NaN, no half of a letter, not nested without end."""
    try:
        found: object = from_json(text or b"{}", allow_inf_nan=False)
        json.dumps(found, allow_nan=False)  # 1e999 is infinite too
    except ValueError:
        return None
    return found
