"""What is asked for by name: light, so that a command line lists it before a library is imported.

A test holds the registries of formats, presets and shortcuts against these.
"""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Literal, TypeVar, get_args

from seg.errors import ConfigError

Entry = TypeVar("Entry")

MASK_NAMES = (
    "png",
    "tiff",
    "nifti",
    "npz",
    "npy",
    "nrrd",
    "dicom-seg",
    "dicom-labelmap",
    "dicom-sr",
    "dicom-sc",
    "rtstruct",
    "json",
    "csv",
    "geojson",
    "geojson-mm",
    "rle",
    "overlay",
)
"""Of ``seg.images.MASK_FORMATS``."""

PROBABILITY_NAMES = ("nifti", "tiff", "npz")
"""Of ``seg.images.PROBABILITY_FORMATS``."""

INSTANCES = "instances"
"""Label image of objects with 32 bits, as TIFF in 2D and NIfTI in 3D."""

LAYERS = "nrrd-layers"
"""3D Slicer's segmentation of regions that overlap: each whole, however others cover it."""

OBJECT_NAMES = (
    "objects",
    "objects-csv",
    "objects-parquet",
    "objects-geojson",
    "objects-coco",
    "objects-rois",
    "instances-tiff",
    "instances-nifti",
    "instances-nrrd",
    "instances-seg-nrrd",
    "instances-zarr",
    "instances-dicom-seg",
    "instances-dicom-labelmap",
)
"""Of ``seg.objects.OBJECT_FORMATS``."""

MapName = Literal["probabilities", "uncertainty", "disagreement"]
"""``probabilities`` of each channel of logits; ``uncertainty``, their entropy; ``disagreement`` of
several networks, or of one network on mirrored patches. All in [0, 1]."""

MAP_NAMES: tuple[MapName, ...] = get_args(MapName)
"""All that may be asked for."""

OUTPUT_NAMES = (
    *MASK_NAMES,
    INSTANCES,
    *OBJECT_NAMES,
    LAYERS,
    *MAP_NAMES,
    *(f"{kind}-{format}" for kind in MAP_NAMES for format in PROBABILITY_NAMES),
)
"""Of all files that can be had of a segmentation; each map as ``NAME-FORMAT`` or in its usual
format."""

FrameAxis = Literal["t", "z", "position"]
"""Of a stack, along which each image is one."""

FRAME_AXES: tuple[FrameAxis, ...] = get_args(FrameAxis)
"""All that may be asked for."""

Provider = Literal["auto", "cpu", "cuda", "openvino"]
"""``cpu`` is onnxruntime's; ``auto`` the fastest here."""

PROVIDERS: tuple[Provider, ...] = get_args(Provider)
"""All that may be asked for."""

AskedPrecision = Literal["auto", "float32", "bfloat16", "float16", "int8"]
"""``auto`` is the fastest that loses nothing worth a word; another one is taken or refused."""

PRECISIONS: tuple[AskedPrecision, ...] = get_args(AskedPrecision)
"""All that may be asked for."""

PRECISION_VARIABLE = "SEG_PRECISION"
"""Of the environment: what commands and the service take where nothing else is said."""

PRESET_NAMES = (
    "resunet-s",
    "resunet-xs",
    "resunet-s-attention",
    "resunet-m",
    "resunet-l",
    "resunet-xl",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "preact-164",
    "preact-1001",
    "identity-1202",
)
"""Of ``seg.networks.PRESETS``."""

SHORTCUT_NAMES = ("none", "identity", "preact", "gated", "gated-channel", "highway", "dense")
"""Of ``seg.networks.SHORTCUTS``."""


MOST_CLASSES = 255
"""Masks are served as one byte a pixel, and one number says that nobody annotated it."""


def chosen(table: Mapping[str, Entry], name: str, what: str) -> Entry:
    """The entry of that name.

    Raises:
        ConfigError: there is none.
    """
    check_known(table, name, what)
    return table[name]


def check_known(names: Collection[str], name: str, what: str) -> None:
    """Make sure that a name is one of these.

    Raises:
        ConfigError: it is not; the message tells the nearest, or all where none is near.
    """
    if name in names:
        return
    near = get_close_matches(name.lower(), names, n=3)
    told = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(names)}"
    raise ConfigError(f"no {what} is called {name!r}; {told}")
