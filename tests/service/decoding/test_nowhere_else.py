"""Files of clients are read where reading can be ended, and nowhere else."""

import ast
from pathlib import Path

import pytest

from tests.service.conftest import ROOT

SERVICE = ROOT / "service"
READERS = (
    *("read_", "open_", "series_in", "study_of", "dcmread", "instance_facts"),
    *("shapes_of", "drawing_of"),
)
"""What functions that read images begin with."""
LIBRARIES = {"PIL", "cv2", "tifffile", "nibabel", "nrrd", "zarr", "imagecodecs", "gzip", "tarfile"}
UNPACKERS = {"zlib.decompress", "gzip.decompress", "gzip.open", "lzma.decompress"}
READ_ELSEWHERE = {
    "archives/peers.py": ["dcmread"],  # our own results, on their way to a PACS
    "page/routes.py": ["gzip"],  # packs the page
    "studio/bodies.py": ["gzip"],  # to the size of the image
    "studio/routes.py": ["read_mask"],  # masks that we wrote
    "studio/suggestions.py": ["read_mask"],  # likewise
}


def findings(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [each.name for each in names if each.name.split(".")[0] in LIBRARIES]
            case ast.ImportFrom(module=str(room), names=names):
                if room.split(".")[0] in LIBRARIES:
                    found.append(room)
                if room.startswith("seg.images"):
                    found += [each.name for each in names if each.name.startswith(READERS)]
            case ast.Attribute(attr=name) if name == "dcmread" or ast.unparse(node) in UNPACKERS:
                found.append(name)
    return found


@pytest.mark.parametrize(
    "line",
    [
        "from seg.images import read_image",
        "from seg.images.tiff.whole import read_tiff",
        "import nibabel.nifti1",
        "pydicom.dcmread(path)",
        "zlib.decompress(content)",
    ],
)
def test_the_search_finds_what_it_is_for(line):
    assert findings(line)


def test_files_of_clients_are_read_in_decoders_alone():
    found = {
        str(path.relative_to(SERVICE)): findings(path.read_text(encoding="utf-8"))
        for path in SERVICE.rglob("*.py")
        if Path("decoding") not in path.relative_to(SERVICE).parents
    }
    assert {name: words for name, words in found.items() if words} == READ_ELSEWHERE
