"""Results sent by C-STORE: to dcmtk's storescp, and to peers that refuse or break off."""

import io
import shutil
import subprocess
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest

from seg.errors import ArchiveAwayError, ArchiveError
from seg.images import Mask, encode_mask, read_image, read_mask
from service.archives.peers import Peers
from tests.orthanc import free_port
from tests.packages import CLASSES
from tests.seg.images.dicom.files import write_series
from tests.service.conftest import until
from tests.service.frontends.dicomweb.conftest import study

pynetdicom = pytest.importorskip("pynetdicom", reason="no pynetdicom here: pip install pynetdicom")
AFFINE = np.diag([0.8, 1.5, 3, 1.0])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A mask as DICOM, by format."""
    folder = write_series(tmp_path_factory.mktemp("series") / "slices", study(AFFINE))
    image = read_image(folder, dims=3)
    labels = np.random.default_rng(0).integers(0, 3, image.spatial_shape).astype(np.uint8)
    mask = Mask.on_grid_of(image, labels)
    formats = ("dicom-seg", "dicom-labelmap", "rtstruct")
    files = {name: encode_mask(mask, name, CLASSES, image=image) for name in formats}
    return SimpleNamespace(mask=mask, **{name.replace("-", "_"): files[name] for name in formats})


def stored(port, *contents):
    """What is stored in a peer on a port of this machine."""
    peers = Peers.parsed(f"pacs=PACS@127.0.0.1:{port}", "SEG")
    with peers.reached("pacs") as archive:
        return archive.store([(io.BytesIO(each), len(each)) for each in contents])


@contextmanager
def storescp(folder, *options):
    """Dcmtk's receiver, which keeps what comes in a folder."""
    program = shutil.which("storescp", path="/usr/local/bin:/usr/bin")
    if program is None:
        pytest.skip("no storescp of dcmtk here: make pacs")
    port = free_port()
    command = [program, "-pm", *options, "-aet", "PACS", "-od", str(folder), str(port)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        entity = pynetdicom.AE("SEG")
        entity.add_requested_context("1.2.840.10008.1.1")
        until(lambda: _is_there(entity, port))
        yield port
    finally:
        server.terminate()
        server.wait(30)


def _is_there(entity, port):
    association = entity.associate("127.0.0.1", port, ae_title="PACS")
    if association.is_established:
        association.release()
    return association.is_released


@pytest.mark.parametrize("format", ["dicom_seg", "dicom_labelmap", "rtstruct"])
def test_a_peer_that_takes_implicit_vr_alone_gets_the_same_mask(tmp_path, results, format):
    content = getattr(results, format)
    with storescp(tmp_path, "+xi") as port:
        (uid,) = stored(port, content)
    (file,) = tmp_path.iterdir()
    found = pydicom.dcmread(file)
    assert found.SOPInstanceUID == uid == pydicom.dcmread(io.BytesIO(content)).SOPInstanceUID
    assert found.file_meta.TransferSyntaxUID == pydicom.uid.ImplicitVRLittleEndian
    if format != "rtstruct":
        np.testing.assert_array_equal(read_mask(file, dims=3).array, results.mask.array)


@contextmanager
def peer(on_store, contexts=pynetdicom.AllStoragePresentationContexts):
    """One who answers each instance as a function of its number says."""
    entity, seen = pynetdicom.AE("PACS"), []
    for context in contexts:
        syntaxes = [*context.transfer_syntax, pydicom.uid.RLELossless]
        entity.add_supported_context(context.abstract_syntax, syntaxes)

    def store(event):
        seen.append(event.request.AffectedSOPInstanceUID)
        return on_store(event, len(seen))

    handlers = [(pynetdicom.evt.EVT_C_STORE, store)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield server.socket.getsockname()[1], seen
    finally:
        server.shutdown()


def test_what_a_peer_has_already_is_stored(results):
    with peer(lambda *_: 0x0111) as (port, seen):
        assert stored(port, results.dicom_seg) == seen


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (0xA700, ArchiveAwayError, "out of space"),
        (0x0124, ArchiveError, "0x0124"),
        (0xC000, ArchiveError, "0xc000"),
    ],
)
def test_a_peer_that_does_not_store_is_told_from_one_that_may_later(results, status, kind, words):
    with (
        peer(lambda *_: status) as (port, _),
        pytest.raises(ArchiveError, match=words) as raised,
    ):
        stored(port, results.dicom_seg)
    assert type(raised.value) is kind


def test_an_association_that_is_aborted_in_the_middle_is_tried_again(results):
    def abort_the_second(event, number):
        if number == 2:
            event.assoc.abort()
        return 0

    contents = [results.dicom_seg, results.rtstruct]
    with peer(abort_the_second) as (port, seen):
        with pytest.raises(ArchiveAwayError):
            stored(port, *contents)
        assert len(stored(port, *contents)) == 2
    assert len(seen) == 4


def test_a_peer_that_takes_no_segmentations_says_so(results):
    contexts = [pynetdicom.build_context("1.2.840.10008.5.1.4.1.1.2")]
    with (
        peer(lambda *_: 0, contexts) as (port, _),
        pytest.raises(ArchiveError, match="takes none of these kinds") as raised,
    ):
        stored(port, results.dicom_seg)
    assert not isinstance(raised.value, ArchiveAwayError)


def test_a_peer_that_takes_some_kinds_gets_none(results):
    contexts = [pynetdicom.build_context("1.2.840.10008.5.1.4.1.1.481.3")]
    with (
        peer(lambda *_: 0, contexts) as (port, seen),
        pytest.raises(ArchiveError, match="takes no SEG by C-STORE"),
    ):
        stored(port, results.rtstruct, results.dicom_seg)
    assert seen == []
