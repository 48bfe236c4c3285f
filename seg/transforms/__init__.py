"""Resample, normalise, pad: numpy and scipy, deterministic, each with its undo."""

from seg.transforms.intensity import Scaling, normalise
from seg.transforms.padding import border, surround
from seg.transforms.prepare import Prepared, prepare
from seg.transforms.resample import (
    Window,
    resample_image,
    resample_labels,
    resample_rows,
    resampled_shape,
    rows_within,
)
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
