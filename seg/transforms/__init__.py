"""Resample, normalise, pad: numpy and scipy, deterministic, each with its undo."""

from seg.transforms.intensity import normalise
from seg.transforms.padding import surround
from seg.transforms.prepare import Prepared, prepare
from seg.transforms.resample import (
    resample_image,
    resample_labels,
    resample_rows,
    resampled_shape,
)
from seg.transforms.spec import Normalisation, Preprocessing

__all__ = [
    "Normalisation",
    "Prepared",
    "Preprocessing",
    "normalise",
    "prepare",
    "resample_image",
    "resample_labels",
    "resample_rows",
    "resampled_shape",
    "surround",
]
