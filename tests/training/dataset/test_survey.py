"""The files of a dataset are looked at once before it is one."""

from collections import Counter

import numpy as np
import pytest
import tifffile

from seg.errors import DatasetError, ImageError
from tests.datasets import write_png
from training.dataset import cases, check_and_measure, load_dataset, look_into, survey
from training.dataset.cases import Case
from training.dataset.findings import one_case
from training.dataset.fingerprint import fingerprint_of
from training.dataset.survey import Survey


@pytest.fixture
def opened(monkeypatch):
    """How often each file is read."""
    counts = Counter()

    def counting(read):
        def count(source, **options):
            files = source if isinstance(source, tuple) else (source,)
            counts.update(file.name for file in files)
            return read(source, **options)

        return count

    for name in ("read_mask", "read_image", "read_channels"):
        monkeypatch.setattr(survey, name, counting(getattr(survey, name)))
    return counts


def plain(folder, masks):
    for part in ("images", "masks"):
        (folder / part).mkdir()
    for index, mask in enumerate(masks):
        image = np.random.default_rng(index).integers(0, 255, (8, 10), np.uint8)
        tifffile.imwrite(folder / "images" / f"c{index}.tif", image)
        tifffile.imwrite(folder / "masks" / f"c{index}.tif", mask)
    return folder


def test_a_mask_with_more_axes_than_its_image_says_so(tmp_path):
    plain(tmp_path, [np.ones((8, 10), np.uint8)] * 2)
    for index in range(2):
        (tmp_path / "masks" / f"c{index}.tif").unlink()
        np.save(tmp_path / "masks" / f"c{index}.npy", np.ones((8, 10, 3), np.uint8))
        image = np.zeros((8, 10), np.uint8)
        (tmp_path / "images" / f"c{index}.tif").unlink()
        write_png(tmp_path / "images" / f"c{index}.png", image)
    with pytest.raises(DatasetError, match="three axes, 8 x 10 x 3, its image is flat, 8 x 10"):
        load_dataset(tmp_path)


def test_undeclared_masks_are_opened_once_each_and_one_image(tmp_path, opened):
    masks = [np.full((8, 10), index % 3, np.uint8) for index in range(1, 5)]
    dataset = load_dataset(plain(tmp_path, masks))
    assert [info.name for info in dataset.classes] == ["background", "class_1", "class_2"]
    assert opened == {"c0.tif": 2, "c1.tif": 1, "c2.tif": 1, "c3.tif": 1}  # c0: image and mask


def test_declared_masks_are_not_opened_but_for_the_first(tmp_path, opened):
    (tmp_path / "dataset.yaml").write_text("classes: [background, cell]\nchannels: [green]\n")
    load_dataset(plain(tmp_path, [np.ones((8, 10), np.uint8)] * 3))
    assert opened == {"c0.tif": 1}


def test_what_cannot_be_read_is_passed_over_and_kept_for_a_check(tmp_path):
    masks = [np.eye(8, 10, dtype=np.uint8)] * 3
    folder = plain(tmp_path, masks)
    (folder / "masks" / "c0.tif").write_bytes(b"no image")
    (folder / "images" / "left.tif").write_bytes((folder / "images" / "c1.tif").read_bytes())
    dataset, findings = look_into(folder)
    assert (dataset.dims, len(dataset.classes)) == (2, 2)
    assert [finding.problem for finding in findings] == ["no mask is called left"]


def test_other_dimensions_are_not_answered_from_what_is_at_hand(tmp_path):
    tifffile.imwrite(
        tmp_path / "stack.tif",
        np.zeros((4, 8, 10), np.uint8),
        metadata={"axes": "ZYX"},
        photometric="minisblack",
    )
    case = Case(
        name="a", images=(tmp_path / "stack.tif",), mask=tmp_path / "stack.tif", split="train"
    )
    survey = Survey()
    assert survey.mask(case).dims == survey.image(case, 3).dims == 3
    with pytest.raises(ImageError):
        survey.image(case, 2)


def test_a_check_gives_the_fingerprint_without_reading_a_case_again(tmp_path, monkeypatch):
    dataset = load_dataset(plain(tmp_path, [np.eye(8, 10, dtype=np.uint8) * n for n in (1, 2, 1)]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "alone"))
    alone = fingerprint_of(dataset)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "together"))
    read = Counter()
    kept = one_case.read_channels
    monkeypatch.setattr(
        one_case, "read_channels", lambda files, **o: read.update(files) or kept(files, **o)
    )
    monkeypatch.setattr(cases, "read_channels", lambda *_, **__: pytest.fail("read again"))
    findings, fingerprint = check_and_measure(dataset)
    assert set(fingerprint.contents) == {case.name for case in dataset.cases}
    assert fingerprint.model_copy(update={"contents": {}}) == alone
    assert [finding.severity for finding in findings] == ["warning"] * len(findings)
    assert set(read.values()) == {1}
    assert fingerprint_of(dataset) == alone  # remembered
    assert check_and_measure(dataset)[1] == fingerprint
