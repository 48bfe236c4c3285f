from dataclasses import replace

import numpy as np
import pytest

from seg.errors import DatasetError
from seg.images import Image, write_image
from seg.predict.cases import CaseSearch, find_cases, left_out
from tests.seg.images.dicom.files import content_of, series_of

FLAT = CaseSearch(channels=1, dims=2)
NESTED = CaseSearch(channels=1, dims=2, recursive=True)


@pytest.fixture
def scans(tmp_path, monkeypatch):
    for name in ("a.tif", "b.tif", "mon/a.tif", "mon/c.tif", "tue/deep/d.tif"):
        write_image(tmp_path / "scans" / name, Image(np.ones((1, 4, 4), np.uint8)))
    (tmp_path / "scans" / "notes.txt").write_text("not an image")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "scans"


def names(*inputs, search=FLAT):
    return [case.name for case in find_cases(inputs, search)]


def test_a_folder_is_looked_into_and_its_folders_only_if_asked_for(scans):
    assert names(scans) == ["a", "b"]
    assert names(scans, search=NESTED) == ["a", "b", "mon/a", "mon/c", "tue/deep/d"]


def test_links_that_lead_in_a_circle_are_followed_once(scans):
    (scans / "mon" / "up").symlink_to("..")
    (scans / "tue" / "other").symlink_to("../mon")
    expected = ["a", "b", "mon/a", "mon/c", "tue/deep/d", "tue/other/a", "tue/other/c"]
    assert names(scans, search=NESTED) == expected


@pytest.mark.parametrize("absolute", [True, False])
def test_a_pattern_finds_what_matches(scans, absolute):
    start = str(scans) if absolute else "scans"
    assert names(f"{start}/?.tif") == ["a", "b"]
    assert names(f"{start}/m*") == ["a", "c"]
    assert names(f"{start}/**/d.tif") == ["d"]
    assert names(f"{start}/*/*.tif", search=NESTED) == ["mon/a", "mon/c"]


def test_a_name_with_brackets_is_a_name_where_it_exists(scans):
    write_image(scans / "x[1].tif", Image(np.ones((1, 4, 4), np.uint8)))
    assert names(scans / "x[1].tif") == ["x[1]"]


def test_a_file_that_is_named_twice_is_one_case(scans):
    assert names(scans, scans / "a.tif", "scans/a.tif") == ["a", "b"]


def test_masks_within_the_folder_are_no_images(scans):
    search = CaseSearch(channels=1, dims=2, recursive=True, out=scans / "mon")
    assert names(scans, search=search) == ["a", "b", "tue/deep/d"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        pytest.param("nowhere", "nowhere does not exist", id="missing"),
        pytest.param("scans/*.nii", r"no image matches scans/\*.nii", id="no match"),
        pytest.param("scans/*.txt", r"no image matches scans/\*.txt; known endings", id="text"),
        pytest.param("scans/tue", "no image in scans/tue; .* -r looks into", id="empty folder"),
        pytest.param("scans/**/a.tif", "would have the same mask, a; .* or -r", id="two masks"),
    ],
)
def test_an_input_that_leads_nowhere_is_said(scans, given, sentence):
    with pytest.raises(DatasetError, match=sentence):
        names(given)


def test_channels_are_put_together_and_a_missing_one_is_said(scans):
    for channel in range(2):
        write_image(scans / "t" / f"p_{channel:04d}.tif", Image(np.ones((1, 4, 4), np.uint8)))
    (case,) = find_cases([scans / "t"], CaseSearch(channels=2, dims=2))
    assert (case.name, [file.name for file in case.files]) == ("p", ["p_0000.tif", "p_0001.tif"])
    with pytest.raises(DatasetError, match="p has 2 files, but the model takes one file, or one"):
        find_cases([scans / "t"], CaseSearch(channels=3, dims=2))


VOLUMES = CaseSearch(channels=1, dims=3)


@pytest.fixture
def study(tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    for uid in ("1.2.1", "1.2.2"):
        volume = np.zeros((3, 4, 5), np.int16)
        for z, dataset in enumerate(series_of(volume, np.eye(4), SeriesInstanceUID=uid)):
            (folder / f"{uid}-{z}").write_bytes(content_of(dataset))
    return folder


def test_each_series_of_a_study_is_a_case_or_the_one_that_is_asked_for(study):
    cases = find_cases([study], VOLUMES)
    assert [(case.name, case.series) for case in cases] == [
        ("study_1.2.1", "1.2.1"),
        ("study_1.2.2", "1.2.2"),
    ]
    (case,) = find_cases([study], replace(VOLUMES, series="1.2.2"))
    assert (case.name, case.series) == ("study", "1.2.2")
    with pytest.raises(DatasetError, match=r"no input holds the DICOM series 1\.2\.3"):
        find_cases([study], replace(VOLUMES, series="1.2.3"))


def test_files_are_looked_into_whatever_their_endings(scans):
    (scans / "a.tif").rename(scans / "a.unknown")
    for name in ("c.lsm", "d.btf", "e.ome.tif"):
        write_image(scans / "x.tif", Image(np.ones((1, 4, 4), np.uint8)))
        (scans / "x.tif").rename(scans / name)
    np.save(scans / "f.npy", np.ones((4, 4), np.uint8))
    assert names(scans) == ["a", "b", "c", "d", "e", "f"]
    assert left_out([scans], FLAT) == []


def test_files_that_are_no_images_are_named_and_those_beside_images_are_not(scans):
    for name in ("x.czi", "y.lif", "tue/z.nd2", "table.csv", "mask_seg.npy", ".hidden.czi"):
        (scans / name).write_bytes(b"ZISRAWFILE")
    assert left_out([scans], FLAT) == [scans / "x.czi", scans / "y.lif"]
    assert left_out([scans], NESTED) == [scans / "x.czi", scans / "y.lif", scans / "tue" / "z.nd2"]
