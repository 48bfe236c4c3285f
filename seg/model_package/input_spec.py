"""What a network takes."""

from typing import Annotated

from pydantic import Field, model_validator

from seg.frozen import FrozenData
from seg.images.grid.orientation import are_axis_codes
from seg.model_package.empty import Empty
from seg.model_package.sides import between_sides
from seg.model_package.standing import StandsOut
from seg.transforms import Preprocessing


class Channel(FrozenData):
    """One input channel."""

    name: str
    modality: str = "unknown"
    """``CT`` (Hounsfield units), ``MR``, ``microscopy``, ``photo``, ..."""


class InputSpec(FrozenData):
    """What the network takes: a batch of patches ``(b, c, *patch)`` float32."""

    channels: tuple[Channel, ...]
    patch: tuple[Annotated[int, Field(gt=0)], ...]
    """Patch size in voxels of the target spacing, one number a spatial axis."""
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of a window that its neighbour covers as well."""
    preprocessing: Preprocessing
    empty: Empty | None = None
    """What tells empty windows, which the network is not asked about; None asks about all."""
    stands_out: StandsOut | None = None
    """What an object must show near it to be one; None where nothing is known, or nothing asked."""
    mirror_axes: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Spatial axes along which a mirrored patch is as good as the patch; None is all, but that
    between left and right where classes have sides."""
    orientation: str | None = None
    """Axis codes in the order (x, y, z), such as ``RAS``, that the network was trained in: images
    are turned to them and masks back. None, as of pictures, takes axes as they are stored."""
    left_right_axis: Annotated[int, Field(ge=0)] | None = None
    """Spatial axis between left and right where ``orientation`` does not say it; None where nobody
    did."""

    @model_validator(mode="after")
    def _axes_agree(self) -> "InputSpec":
        spacing = self.preprocessing.spacing
        if len(self.patch) not in (2, 3):
            raise ValueError(f"a patch has 2 or 3 axes, got {self.patch}")
        if spacing is not None and len(spacing) != len(self.patch):
            raise ValueError(f"spacing {spacing} and patch {self.patch} differ in axes")
        margin = self.preprocessing.margin
        if margin is not None and (len(margin) != len(self.patch) or min(margin) < 0):
            raise ValueError(f"a margin needs one number of 0 or more an axis, got {margin}")
        if len(self.preprocessing.normalisation) != len(self.channels):
            raise ValueError("normalisation needs one entry a channel")
        if self.mirror_axes and max(self.mirror_axes) >= len(self.patch):
            raise ValueError(f"mirror axes are below {len(self.patch)}, got {self.mirror_axes}")
        if self.orientation is not None and not are_axis_codes(self.orientation, self.dims):
            raise ValueError(
                f"an orientation has {len(self.patch)} axis codes such as "
                f"{'RAS'[: len(self.patch)]}, got {self.orientation!r}"
            )
        if self.left_right_axis is not None and self.left_right_axis >= len(self.patch):
            raise ValueError(f"the axis is below {len(self.patch)}, got {self.left_right_axis}")
        if self.empty is not None and len(self.empty.limits) != len(self.channels):
            raise ValueError("what is empty needs one limit a channel")
        if self.stands_out is not None:
            self._check_standing(self.stands_out)
        return self

    def _check_standing(self, rule: StandsOut) -> None:
        if len(rule.levels) != len(self.channels):
            raise ValueError("what stands out needs one level a channel")
        sizes = (rule.smoothing, rule.core, rule.reach)
        if any(len(size) != len(self.patch) for size in sizes):
            raise ValueError("what stands out needs sizes of one number an axis")

    @property
    def dims(self) -> int:
        """2 or 3."""
        return len(self.patch)

    @property
    def between_sides(self) -> int | None:
        """The spatial axis that runs between left and right; None where none does."""
        return between_sides(self.dims, self.orientation, self.left_right_axis)
