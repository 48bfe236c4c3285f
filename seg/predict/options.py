"""The command line of ``python -m seg.predict``, and what others take from it."""

import argparse
import math
import os

from seg.commands import path_named
from seg.names import (
    FRAME_AXES,
    MAP_NAMES,
    MASK_NAMES,
    OBJECT_NAMES,
    OUTPUT_NAMES,
    PRECISION_VARIABLE,
    PRECISIONS,
    PROBABILITY_NAMES,
    PROVIDERS,
)
from seg.verbs import called

SWITCHES = {
    "--recursive -r": "look into folders within folders",
    "--overwrite": "segment also what is finished already",
    "--mirror": "average over all mirrors of every patch: 4 times slower in 2D, 8 times in 3D",
    "--split": "split objects that touch by their shape, with a model that was not taught to tell "
    "them apart; for a format of objects",
    "--measurements": "write sizes and intensities of all cases into measurements.csv",
    "--store": "store the masks beside their series in the PACS, as DICOM SEG unless --format says "
    "otherwise",
    "--all-windows": "ask the network also about windows that the package knows to be empty",
}

MOST_THREADS = 1024
"""More are a slip of the keyboard, and the memory of a machine."""


def command_line() -> argparse.ArgumentParser:
    """Parser of all options."""
    parser = argparse.ArgumentParser(
        prog=called("seg.predict"),
        description="Segment images with a model package. Started again, it goes on where it was.",
    )
    add = parser.add_argument
    add("package", type=path_named, metavar="PACKAGE", help="folder with model.json")
    add(
        "inputs",
        nargs="+",
        metavar="IN",
        help="image files, folders of them, DICOM series, quoted patterns like 'scans/*.nii', or "
        "series of a PACS: dicomweb+https://HOST/dicom-web/studies/UID/series/UID",
    )
    add(
        "--out",
        "-o",
        type=path_named,
        metavar="DIR",
        help="folder for the masks; --store does without",
    )
    add(
        "--format",
        type=_formats,
        action="extend",
        metavar="NAME,...",
        help=f"what is written of each image. Masks: {', '.join(sorted(MASK_NAMES))} (default: "
        f"png for 2D, nifti for 3D). Objects: instances (numbers with 32 bits, as TIFF or NIfTI), "
        f"{', '.join(OBJECT_NAMES)}; all are listed in objects.csv as well. Maps: "
        f"{', '.join(MAP_NAMES)}, as TIFF in 2D and NIfTI in 3D "
        f"or with an ending of {', '.join('-' + name for name in PROBABILITY_NAMES)}",
    )
    add(
        "--classes",
        type=lambda text: text.split(","),
        action="extend",
        default=[],
        metavar="NAME,...",
        help="the only classes in masks, measurements and maps (default: all)",
    )
    add(
        "--threshold",
        type=float,
        metavar="P",
        help="a region, or the foreground of two classes, is where its probability is above P; of "
        "more classes the likeliest stays where its probability is above P (default: 0.5, and the "
        "likeliest class)",
    )
    add(
        "--series",
        metavar="UID|all",
        help="SeriesInstanceUID of the one DICOM series that is segmented of a folder or ZIP file "
        "that holds several (default: all, one mask each, named by the UID)",
    )
    add(
        "--region",
        type=path_named,
        metavar="ROI.geojson",
        help="segment only what lies in these polygons, in pixels as QuPath exports them; what "
        "lies outside is background",
    )
    add(
        "--mpp",
        type=_size,
        metavar="UM",
        help="segment pictures with pixels of so many micrometres, such as 0.5: the level of a "
        "pyramid that is fine enough is read; masks have these pixels, GeoJSON those of the file "
        "(default: the file's own)",
    )
    add(
        "--each",
        choices=FRAME_AXES,
        help="take each moment, slice or position of a stack as an image; masks and rows are named "
        "STEM_t0, STEM_z0 or STEM_p0",
    )
    add(
        "--plate",
        nargs="?",
        const="",
        metavar="LAYOUT.csv",
        help="add the objects of all images of a well up in plate.csv, a row a well; files or "
        "folders name it, as in A01_site2.tif; a layout's columns beside well are copied",
    )
    add(
        "--credentials",
        type=path_named,
        metavar="FILE",
        help="who asks a PACS: one line NAME:PASSWORD or 'Bearer TOKEN', a PEM file, or JSON",
    )
    for name, text in SWITCHES.items():
        add(*name.split(), action="store_true", help=text)
    add(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="spread the cases over a Ray cluster, with --threads cores a worker; without an "
        "address over the one that runs here, or else over this machine",
    )
    add_backend_options(parser)
    return parser


def add_backend_options(parser: argparse.ArgumentParser) -> None:
    """Which variant runs, and where: the same for every command that takes a package."""
    parser.add_argument(
        "--variant", metavar="NAME", help="variant of the package (default: its first)"
    )
    parser.add_argument(
        "--provider",
        choices=PROVIDERS,
        default="auto",
        help="what runs the network; cpu is onnxruntime; auto takes the fastest here of cuda, cpu "
        "and openvino that agrees with the package's golden samples, and remembers it",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=os.environ.get(PRECISION_VARIABLE) or "auto",
        help="of the network's arithmetic; auto takes the fastest that the package knows to lose "
        "less than 0.001 Dice, and float32 where nobody measured it "
        f"({called('training.calibrate')} does); another one is taken, or refused (default: "
        f"{PRECISION_VARIABLE}, else auto)",
    )
    parser.add_argument(
        "--overlap",
        type=float,
        metavar="S",
        help="share of a window that its neighbour covers as well, 0 to below 1 (default: the "
        "package's)",
    )
    parser.add_argument(
        "--threads",
        type=_threads,
        metavar="N",
        help="CPU threads of the network (default: all cores)",
    )


def _formats(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in OUTPUT_NAMES:
            known = ", ".join(OUTPUT_NAMES)
            raise argparse.ArgumentTypeError(f"{name!r} is no format; known are {known}")
    return names


def _size(text: str) -> float:
    try:
        size = float(text)
    except ValueError:
        size = 0
    if not 0 < size < math.inf:
        raise argparse.ArgumentTypeError("a size above 0 is needed")
    return size


def _threads(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= MOST_THREADS:
        raise argparse.ArgumentTypeError(f"a whole number from 1 to {MOST_THREADS} is needed")
    return number
