import numpy as np
import pytest

from seg.errors import DatasetError
from seg.images import Image, write_image
from seg.predict.cases import CaseSearch, find_cases

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
