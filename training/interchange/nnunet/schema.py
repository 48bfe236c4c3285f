"""The fields that are read of nnU-Net's files, and of what kind they are; others may be there."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seg.errors import ConfigError

PerAxis = int | list[int]
"""One number for all axes, or one an axis."""


class Numbers(BaseModel):
    """``arch_kwargs``: the shape of the network."""

    model_config = ConfigDict(strict=True)

    n_stages: int = Field(ge=2)
    features_per_stage: int | list[int]
    conv_op: str = Field(pattern=r"Conv[23]d$")
    kernel_sizes: int | list[PerAxis]
    strides: int | list[PerAxis]
    n_conv_per_stage_decoder: int | list[int]


class Architecture(BaseModel):
    """The network; what it is made of, ``network_of`` checks by name."""

    network_class_name: str
    arch_kwargs: dict[str, Any]


class Configuration(BaseModel):
    """One of ``configurations``, with what it inherits."""

    patch_size: list[int] = Field(min_length=2, max_length=3)
    spacing: list[float] = Field(min_length=2, max_length=3)
    normalization_schemes: list[str]
    use_mask_for_norm: list[bool] | None = None
    resampling_fn_data: str
    resampling_fn_probabilities: str
    architecture: Architecture


class Plans(BaseModel):
    """``plans.json``."""

    dataset_name: str
    transpose_backward: list[int] = Field(min_length=3, max_length=3)
    original_median_shape_after_transp: list[float] = Field(min_length=3, max_length=3)
    original_median_spacing_after_transp: list[float] = Field(min_length=3, max_length=3)
    configurations: dict[str, dict[str, Any]]


class NnunetDataset(BaseModel):
    """``dataset.json``."""

    labels: dict[str, Any]
    file_ending: str
    channel_names: dict[str, Any] | None = None
    modality: dict[str, Any] | None = None


def validate_content(kind: type[BaseModel], content: Mapping[str, Any], where: str) -> None:
    """Check that all is there and of its kind.

    Raises:
        ConfigError: it is not; ``where`` it stands is named.
    """
    try:
        kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{where} is not as nnU-Net 2 writes it: {field}: {first['msg']}"
        ) from error
