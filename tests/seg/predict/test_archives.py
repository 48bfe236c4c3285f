"""Series of a PACS as inputs, and masks that go back to it, with a real Orthanc."""

import io

import numpy as np
import pydicom
import pytest

from seg.images import read_mask
from seg.predict.__main__ import main
from tests.orthanc import instances_in, orthanc, put, root_of, series_in
from tests.seg.images.dicom.files import write_series
from tests.service.frontends.dicomweb.conftest import WHO, Mistaken, answering, study
from tests.service.frontends.dicomweb.worlds import in_the_world

AFFINE = np.diag([0.8, 1.5, 3, 1.0])


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    with orthanc(tmp_path_factory.mktemp("pacs"), auth=WHO) as client:
        yield client


@pytest.fixture
def predicted(pacs, tiny_package_3d, tmp_path):
    """The status of a run on an address below the root of the PACS."""
    secret = tmp_path / "secret"
    secret.write_text(":".join(WHO))

    def run(path, *options):
        address = f"dicomweb+{root_of(pacs)}{path}"
        return main(
            [str(tiny_package_3d), address, *map(str, options), "--credentials", str(secret)]
        )

    return run


def test_a_series_of_a_pacs_is_segmented_and_its_mask_stored_once(
    pacs, predicted, tiny_package_3d, tmp_path
):
    slices = study(AFFINE)
    put(pacs, slices)
    path = f"/studies/{slices[0].StudyInstanceUID}/series/{slices[0].SeriesInstanceUID}"
    out = tmp_path / "out"
    for _ in range(2):
        assert predicted(path, "--out", out, "--store") == 0
    folder = write_series(tmp_path / "slices", slices)
    assert main([str(tiny_package_3d), str(folder), "--out", str(tmp_path / "wanted")]) == 0
    wanted = read_mask(tmp_path / "wanted" / "slices.nii.gz", dims=3)
    (content,) = instances_in(pacs, "SEG")
    assert in_the_world(read_mask(io.BytesIO(content), dims=3)) == in_the_world(wanted)
    mask = pydicom.dcmread(io.BytesIO(content))
    assert mask.StudyInstanceUID == slices[0].StudyInstanceUID
    assert mask.ReferencedSeriesSequence[0].SeriesInstanceUID == slices[0].SeriesInstanceUID
    kept = {file.name for file in out.rglob("*")}
    assert kept == {f"{slices[0].SeriesInstanceUID}.dcm", "quality.csv"}


def test_a_study_is_all_of_its_image_series(pacs, predicted, tmp_path):
    first, second = study(AFFINE), study(AFFINE)
    for each in second:
        each.StudyInstanceUID = first[0].StudyInstanceUID
    put(pacs, [*first, *second])
    path = f"/studies/{first[0].StudyInstanceUID}"
    assert predicted(path, "--store") == 0
    assert predicted(path, "--out", tmp_path / "out") == 0  # its masks are no images
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 2
    there = series_in(pacs, StudyInstanceUID=str(first[0].StudyInstanceUID), Modality="SEG")
    assert len(there) == 2


def test_another_series_than_the_one_asked_for_is_not_segmented(tiny_package_3d, tmp_path, capsys):
    with answering(Mistaken) as root:
        address = f"dicomweb+{root}/studies/1.2.3/series/4.5"
        assert main([str(tiny_package_3d), address, "--out", str(tmp_path / "out")]) == 2
    assert "sent other series than the one" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.nii.gz"))


@pytest.mark.parametrize(
    ("path", "options", "words"),
    [
        ("/studies/1.2.3/series/4.5", ["--store"], "has no such series"),
        ("/studies/Meier", ["--store"], "a UID has digits and dots"),
        ("", ["--store"], "names no study"),
        ("/studies/1.2", [], "--out DIR"),
        ("/studies/1.2", ["--store", "--format", "nifti"], "an archive stores DICOM"),
        ("/studies/1.2", [".", "--store"], "and no files"),
    ],
    ids=["absent", "name", "root", "nowhere", "format", "file"],
)
def test_what_cannot_be_done_is_said_in_one_sentence(predicted, capsys, path, options, words):
    assert predicted(path, *options) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert "Meier" not in said
