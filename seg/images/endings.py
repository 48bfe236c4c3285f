"""What on a disk is an image: the one list of endings, and folders that are images themselves."""

from pathlib import Path

from seg.errors import ImageError
from seg.images.dicom.file import is_dicom
from seg.images.reading import HEAD_BYTES, format_of
from seg.images.zarr.names import is_zarr

IMAGE_ENDINGS = (
    ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", ".dicom", ".ima",
    ".ome.zarr.zip", ".zarr.zip", ".zip", ".ome.zarr", ".zarr",
    ".ome.tiff", ".ome.tif", ".ome.tf2", ".ome.tf8", ".ome.btf",
    ".tiff", ".tif", ".tf2", ".tf8", ".btf", ".lsm", ".stk", ".svs", ".ndpi", ".scn", ".qptiff",
    ".png", ".jpg", ".jpeg", ".bmp", ".webp", ".npy",
)  # fmt: skip
"""Endings of what ``read_image`` takes, longer before shorter. Content decides what a file is; an
ending only says what to look at in a folder of many things."""

BESIDE_IMAGES = (
    ".txt", ".md", ".rst", ".json", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".toml", ".ini",
    ".cfg", ".log", ".pdf", ".html", ".htm", ".rtf", ".doc", ".docx", ".xls", ".xlsx", ".ods",
    ".odt", ".ppt", ".pptx", ".geojson", ".npz", ".py", ".ipynb", ".m", ".r", ".ijm", ".roi",
    ".sh", ".bat", ".exe", ".dll", ".inf", ".ico", ".db", ".sha256", ".md5", ".bval", ".bvec",
    ".mat", ".h5.log", "_seg.npy",
)  # fmt: skip
"""Endings of what people and programs keep beside images: nobody expects a mask of them. The last
one is Cellpose's, whose masks lie in pickles."""

VOXELS_OF_HEADERS = (".raw", ".zraw", ".img", ".bin", ".raw.gz")
"""Endings of voxels that a header beside them (.mhd, .nhdr) names."""

CAMERA_RAW = (".cr2", ".cr3", ".nef", ".dng", ".arw", ".orf", ".rw2", ".pef", ".srw", ".raf")
"""TIFF files whose first image is a thumbnail."""

AMBIGUOUS = ("ZIP", "BMP")
"""Formats whose first bytes other files share, so that an ending must say them too."""

GZIP = b"\x1f\x8b"


LOOKED_AT = 20
"""Files of a folder that are looked into before it is said to be no series."""


def stem_of(path: Path) -> str:
    """The name without its ending, also where that has two parts."""
    for ending in IMAGE_ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    # DICOM files are named by their UID, in whose dots no ending hides
    return path.name if path.is_dir() or path.suffix[1:].isdecimal() else path.stem


def images_at(path: Path, dims: int | None = None) -> list[Path]:
    """The images that a path stands for, sorted: itself, or those in the folder that it is.

    A folder is an image where it is an OME-Zarr, or where DICOM files lie in it and not 2D images
    are wanted (``dims``): then they are slices of one series. Other folders are looked into, but
    not into the folders within them, unless these are images.

    Raises:
        ImageError: the path does not exist.
    """
    if path.name.upper() == "DICOMDIR" and path.is_file():
        return images_at(path.parent, dims)
    if path.is_file() or is_image_folder(path, dims):
        return [path]
    if not path.is_dir():
        raise ImageError(f"{path} does not exist")
    return sorted(
        entry
        for entry in path.iterdir()
        if not entry.name.startswith(".")
        and (is_image_folder(entry, dims) if entry.is_dir() else is_image_file(entry))
    )


def is_image_folder(path: Path, dims: int | None = None) -> bool:
    """The folder is one image: an OME-Zarr, or the slices of a DICOM series."""
    if not path.is_dir():
        return False
    if is_zarr(path):
        return True
    if dims == 2:
        return False
    files = [entry for entry in path.iterdir() if entry.is_file()][:LOOKED_AT]
    return any(is_dicom_file(entry) for entry in files)


def left_out_at(path: Path, dims: int | None = None) -> list[Path]:
    """The files in a folder that are no images that are read, and that somebody may miss.

    Texts, tables and the like are not counted, nor voxels that a header beside them names.
    """
    if not path.is_dir() or is_image_folder(path, dims):
        return []
    files = sorted(each for each in path.iterdir() if each.is_file())
    has_headers = any(each.name.lower().endswith((".mhd", ".nhdr")) for each in files)
    beside = BESIDE_IMAGES + (VOXELS_OF_HEADERS if has_headers else ())
    return [
        each
        for each in files
        if not each.name.startswith(".")
        and not each.name.lower().endswith(beside)
        and each.suffix  # LICENSE, Makefile, DICOMDIR
        and not is_image_file(each)
    ]


def is_image_file(path: Path) -> bool:
    """The file has an ending of an image, or begins as one."""
    name = path.name.lower()
    if name.endswith((*BESIDE_IMAGES, *CAMERA_RAW)):
        return False
    if name.endswith(IMAGE_ENDINGS):
        return True
    if not path.is_file():  # a pipe without a name would be waited for
        return False
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        return not head.startswith(GZIP) and format_of(head).name not in AMBIGUOUS
    except (OSError, ImageError):
        return False


def is_dicom_file(path: Path) -> bool:
    """The file begins as DICOM does."""
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(HEAD_BYTES))
    except OSError:
        return False
