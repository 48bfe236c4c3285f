"""What happens to an image before the network, as plain data that travels in ``model.json``."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seg.frozen import Millimetres

Convention = Literal["seg", "nnunet"]
"""Whose habits preprocessing and windows follow: our own, or those of nnU-Net 2, which a network
that was trained there needs. ``seg.transforms.nnunet`` says what differs."""


class CommonScale(BaseModel):
    """The scale that the images of the training shared, in the intensities of their files.

    An image lies on it where its 5th percentile is not below ``bottom``, its median within
    ``middle`` and its 95th percentile not above ``top``: emptier images do, and those with a few
    bright pixels. Another camera, bit depth or unit does not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bottom: float
    middle: tuple[float, float]
    top: float
    median: float
    """Median over the training images of their medians."""
    spread: Annotated[float, Field(gt=0)]
    """The same of their spreads (``seg.transforms.levels``)."""


class Normalisation(BaseModel):
    """Intensities to the network's range, one a channel.

    ``zscore`` takes mean and deviation of the image itself; ``clip_zscore`` clips to ``low`` and
    ``high`` and uses the dataset's ``mean`` and ``std`` (CT, in Hounsfield units); ``percentile``
    clips the image to its own 0.5 and 99.5 percentiles and then takes its z-score; ``rescale``
    maps ``low``..``high`` to 0..1; ``minmax`` maps the image's own extremes to 0..1.

    ``reference`` is ``clip_zscore`` for images on the training's ``scale``, whatever share of them
    is cells: the noise of an empty image stays noise. Another image is first brought to that scale
    by its median and spread. ``robust`` takes the image's median and spread, then clips to ``low``
    and ``high`` and uses ``mean`` and ``std``, all in spreads from the median: what is bright and
    small does not move them.

    Source of ``zscore`` and ``clip_zscore``: Isensee et al., nnU-Net, Nature Methods 18 (2021).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal[
        "zscore", "clip_zscore", "percentile", "rescale", "minmax", "reference", "robust"
    ] = "zscore"
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    std: float | None = None
    scale: CommonScale | None = None
    """Of ``reference``."""
    nonzero: bool = False
    """Only of voxels that are not 0 in every channel, and what these enclose; the others stay 0.
    For images whose surroundings were masked out, with the convention ``nnunet``."""

    @model_validator(mode="after")
    def _numbers_are_there(self) -> "Normalisation":
        needed = {
            "clip_zscore": ("low", "high", "mean", "std"),
            "reference": ("low", "high", "mean", "std", "scale"),
            "robust": ("low", "high", "mean", "std"),
            "rescale": ("low", "high"),
        }.get(self.kind, ())
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"normalisation {self.kind} needs {', '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _numbers_are_in_order(self) -> "Normalisation":
        if self.low is not None and self.high is not None:
            is_range = self.low < self.high or (self.kind != "rescale" and self.low == self.high)
            if not is_range:
                raise ValueError(f"low must lie below high, got {self.low:g} and {self.high:g}")
        if self.std is not None and self.std < 0:
            raise ValueError(f"std is a deviation, 0 or more, got {self.std:g}")
        return self


class Preprocessing(BaseModel):
    """Resampling and normalisation of an image before it is cut into patches."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    spacing: tuple[Millimetres | None, ...] | None = None
    """Target spacing in mm, one number a spatial axis; None leaves the pixels, or those along one
    axis, as they are."""
    normalisation: tuple[Normalisation, ...]
    """One entry a channel."""
    margin: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Voxels of 0 around the prepared image, one number a spatial axis."""
    convention: Convention = "seg"

    @model_validator(mode="after")
    def _fits_the_convention(self) -> "Preprocessing":
        if self.convention == "nnunet":
            if self.margin is not None and any(self.margin):
                raise ValueError("the convention nnunet has no margin")
        elif any(rule.nonzero for rule in self.normalisation):
            raise ValueError("normalisation of voxels that are not 0 needs the convention nnunet")
        return self
