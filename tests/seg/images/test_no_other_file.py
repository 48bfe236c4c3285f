"""A file that names others, on the server or elsewhere in the network, gets nothing of them.

As it comes over HTTP: bytes without a name, or a ZIP file. What Python opens is watched; what
libraries open by themselves shows as values of the secret image.
"""

import io
import socket
import stat
import sys
import threading
import zipfile

import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from seg.errors import SegError
from seg.images import read_channels

SECRET = 47
SHAPE = (4, 6, 8)
_WATCHED: list[str] | None = None
"""What was opened; None while nobody asks."""


def _heard(event, arguments):
    if _WATCHED is not None and event in ("open", "socket.connect", "socket.getaddrinfo"):
        _WATCHED.append(str(arguments[:2]))


sys.addaudithook(_heard)


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    """A folder of images that nobody sent, in every form, and a port where somebody would hear."""
    folder = tmp_path_factory.mktemp("nobody-s-business")
    (folder / "secret.raw").write_bytes(bytes([SECRET]) * int(np.prod(SHAPE)))
    for name in ("secret.tif", "0.raw", "secret.img", "secret.dcm"):
        (folder / name).write_bytes((folder / "secret.raw").read_bytes())
    tifffile.imwrite(folder / "secret.tif", np.full(SHAPE, SECRET, np.uint8), metadata=None)
    return folder


def zipped(**entries):
    """Texts or bytes by their names; a tuple is a link."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name.replace("__", "/"))
            if isinstance(content, tuple):
                entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
                (content,) = content
            archive.writestr(entry, content)
    return buffer.getvalue()


def ome(body):
    """An OME-TIFF of one picture whose description is ours."""
    buffer = io.BytesIO()
    picture = np.zeros(SHAPE[1:], np.uint8)
    tifffile.imwrite(buffer, picture, description=body, metadata=None)
    return buffer.getvalue()


def several_files(name, uuid="urn:uuid:2"):
    z, y, x = SHAPE
    others = "".join(
        f'<TiffData IFD="0" FirstZ="{plane}" PlaneCount="1"><UUID FileName="{name}">{uuid}</UUID>'
        "</TiffData>"
        for plane in range(1, z)
    )
    return (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:1"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
        f'Type="uint8" SizeX="{x}" SizeY="{y}" SizeZ="{z}" SizeC="1" SizeT="1">'
        '<Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        '<TiffData IFD="0" FirstZ="0" PlaneCount="1"><UUID FileName="x.tif">urn:uuid:1</UUID>'
        f"</TiffData>{others}</Pixels></Image></OME>"
    )


def entity(path):
    return (
        f'<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY x SYSTEM "{path}">]><OME xmlns='
        '"http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="&x;"/></OME>'
    )


def meta(data):
    return f"ObjectType = Image\nNDims = 3\nDimSize = 8 6 4\nElementType = MET_UCHAR\n{data}\n"


def nrrd(data):
    return f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 8 6 4\nencoding: raw\n{data}\n\n"


def dicomdir(*parts):
    """The directory of a CD, which names a file."""
    record = Dataset()
    record.DirectoryRecordType = "IMAGE"
    record.ReferencedFileID = list(parts)
    found = Dataset()
    found.DirectoryRecordSequence = Sequence([record])
    found.file_meta = FileMetaDataset()
    found.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    found.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    found.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, found, enforce_file_format=True)
    return buffer.getvalue()


ZARR = (
    '{"zarr_format": 2, "shape": [4, 6, 8], "chunks": [4, 6, 8], "dtype": "|u1", "compressor": null'
    ', "fill_value": 0, "order": "C", "filters": null}'
)
LEVELS = (
    '{"multiscales": [{"version": "0.4", "axes": ["z", "y", "x"], "datasets": [{"path": "%s"}]}]}'
)
GROUP = '{"zarr_format": 2}'


def files(at, url):
    """What names ``at``, a folder with the secret, or an address."""
    raw, tif = f"{at}/secret.raw", f"{at}/secret.tif"
    up = "../" * 12 + raw.lstrip("/")
    zarr = {".zgroup": GROUP, "0__.zarray": ZARR, ".zattrs": LEVELS % "0"}
    return {
        "planes in another file": ome(several_files(tif)),
        "planes in a file above": ome(several_files("../" * 12 + tif.lstrip("/"))),
        "planes at an address": ome(several_files(f"{url}/secret.tif")),
        "planes of the same name": ome(several_files("x.tif", "urn:uuid:1")),
        "a description elsewhere": ome(
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><BinaryOnly '
            f'MetadataFile="{at}/a.xml" UUID="urn:uuid:1"/></OME>'
        ),
        "an entity in OME-XML": ome(entity(f"file://{raw}")),
        "an entity at an address": ome(entity(f"{url}/x")),
        "MetaImage": meta(f"ElementDataFile = {raw}").encode(),
        "MetaImage list": meta(f"ElementDataFile = LIST\n{raw}").encode(),
        "MetaImage pattern": meta(f"ElementDataFile = {at}/%d.raw 0 0 1").encode(),
        "MetaImage in a ZIP": zipped(**{"a.mhd": meta(f"ElementDataFile = {up}")}),
        "MetaImage at a link": zipped(
            **{"a.mhd": meta("ElementDataFile = a.raw"), "a.raw": (raw,)}
        ),
        "NRRD": nrrd(f"data file: {raw}").encode(),
        "NRRD list": nrrd(f"data file: LIST\n{raw}").encode(),
        "NRRD pattern": nrrd(f"data file: {at}/%d.raw 0 0 1").encode(),
        "NRRD at an address": nrrd(f"data file: {url}/a.raw").encode(),
        "NRRD in a ZIP": zipped(**{"a.nhdr": nrrd(f"data file: {up}")}),
        "NRRD at a link": zipped(**{"a.nhdr": nrrd("data file: a.raw"), "a.raw": (raw,)}),
        "a ZIP of a link": zipped(**{"a.tif": (tif,)}),
        "a ZIP of names above": zipped(**{up: "x", "/etc__passwd": "x", "..\\..\\x.tif": "x"}),
        "Zarr chunk that is a link": zipped(**zarr, **{"0__0.0.0": (raw,)}),
        "Zarr level above": zipped(**{".zgroup": GROUP, ".zattrs": LEVELS % up}),
        "Zarr level at an address": zipped(**{".zgroup": GROUP, ".zattrs": LEVELS % url}),
        "Zarr references": zipped(
            **zarr, **{".zmetadata": f'{{"refs": {{"0/0.0.0": ["{raw}", 0, 192]}}}}'}
        ),
        "DICOMDIR": dicomdir("..", "..", "..", *raw.strip("/").upper().split("/")),
        "DICOMDIR in a ZIP": zipped(DICOMDIR=dicomdir("..", raw)),
        "VRT": f'<VRTDataset rasterXSize="8" rasterYSize="6"><VRTRasterBand><SimpleSource>'
        f"<SourceFilename>{tif}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>".encode(),
        "SVG": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{tif}"/></svg>'.encode(),
        "PostScript": f"%!PS-Adobe-3.0 EPSF-3.0\n({raw}) run\n".encode(),
        "a path": tif.encode(),
        "an address": f"{url}/secret.tif".encode(),
    }


READ_FOR_ITSELF = (
    *("planes in another file", "planes in a file above"),
    *("planes at an address", "planes of the same name"),
)
"""One picture, whose description tells of more of them; a volume is not made of it."""
NAMES = tuple(files("/", "http://localhost"))


def read(source):
    """The image, or what is said in its place."""
    try:
        return read_channels([source], dims=None), ""
    except SegError as refusal:
        return None, str(refusal)


@pytest.mark.parametrize("on_disk", [False, True], ids=["in memory", "on disk"])
@pytest.mark.parametrize("name", NAMES)
def test_what_names_another_file_is_refused_or_read_for_itself_alone(
    name, on_disk, secret, tmp_path
):
    global _WATCHED
    with socket.create_server(("127.0.0.1", 0)) as heard:
        heard.settimeout(0.01)
        url = f"http://127.0.0.1:{heard.getsockname()[1]}"
        (tmp_path / "sent").write_bytes(files(secret, url)[name])
        with (tmp_path / "sent").open("rb") as file:
            source = file if on_disk else io.BytesIO(file.read())
            _WATCHED = []
            try:
                image, said = read(source)
            finally:
                opened, _WATCHED = _WATCHED, None
        assert str(secret) not in said
        with pytest.raises(TimeoutError):
            heard.accept()
    assert not [each for each in opened if "nobody-s" in each or "127.0.0.1" in each], opened
    assert image is None or not (image.array == SECRET).any()
    if image is not None:
        assert name in READ_FOR_ITSELF


def test_a_stack_whose_planes_lie_in_other_files_is_said_to_be_a_part(secret):
    with pytest.raises(SegError, match="file"):
        read_channels([io.BytesIO(ome(several_files("b.tif")))], dims=3)


def test_the_watch_hears_what_is_opened(secret):
    global _WATCHED
    _WATCHED = []
    (secret / "secret.raw").read_bytes()
    threading.Thread(target=(secret / "secret.tif").read_bytes).run()
    opened, _WATCHED = _WATCHED, None
    assert sum("secret" in each for each in opened) >= 2
