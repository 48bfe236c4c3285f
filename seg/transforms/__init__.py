"""Resample, normalise, pad: numpy and scipy, deterministic, each with its undo."""

from typing import TYPE_CHECKING

from seg.late import late_names

if TYPE_CHECKING:
    from seg.transforms.intensity import Scaling, normalise
    from seg.transforms.padding import border, surround
    from seg.transforms.preparation import Prepared, prepare
    from seg.transforms.resample import (
        Window,
        resample_image,
        resample_labels,
        resample_rows,
        resampled_shape,
        rows_within,
    )
    from seg.transforms.resolution import at_resolution
    from seg.transforms.rows import Rows, prepare_rows
    from seg.transforms.spec import CommonScale, Convention, Normalisation, Preprocessing

__all__ = [
    "CommonScale",
    "Convention",
    "Normalisation",
    "Prepared",
    "Preprocessing",
    "Rows",
    "Scaling",
    "Window",
    "at_resolution",
    "border",
    "normalise",
    "prepare",
    "prepare_rows",
    "resample_image",
    "resample_labels",
    "resample_rows",
    "resampled_shape",
    "rows_within",
    "surround",
]

__getattr__ = late_names(
    __name__, "spec", "intensity", "padding", "preparation", "resample", "rows", "resolution"
)
