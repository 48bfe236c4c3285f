"""Cases on disk, of which any number can be trained on."""

import numpy as np
import psutil
import pytest
from numpy.random import default_rng

from seg.images import Image, Mask
from seg.model_package import Channel
from tests.datasets import mask_values, plain_folder, write_png
from training.dataset import IGNORE, Legend, load_dataset
from training.dataset.classes import make_classes
from training.dataset.fingerprint import take_fingerprint
from training.planning.rules import make_plan
from training.run.plan import changed_plan
from training.samples.augmentation import Augmentation
from training.samples.patch_batches import PatchBatches
from training.samples.prepared_cases import OPEN_FILES, open_case, prepare_case, prepare_cases

NAMES = [f"class {number}" for number in range(5)]
LEGEND = Legend(make_classes(["background", *NAMES], {}))


@pytest.fixture
def prepared(tmp_path):
    """A function that prepares a case of random labels in a folder of its own."""

    def prepare(labels, name="case"):
        image = Image(np.arange(labels.size, dtype=np.float32).reshape(1, *labels.shape))
        pair = image, Mask(labels)
        channels = (Channel(name="a"),)
        plan = make_plan(
            take_fingerprint([pair], LEGEND, default_rng(0)), channels, "cpu",
            minutes=1, dataset="t", data="t", patch=(16, 16),
        )  # fmt: skip
        prepare_case(*pair, plan, tmp_path / name)
        return open_case(tmp_path / name), plan

    return prepare


def test_many_cases_keep_few_files_open(prepared):
    folder = prepared(default_rng(0).integers(0, 6, (20, 24), np.uint8))[0].folder
    plan = prepared(np.ones((20, 24), np.uint8), "other")[1]
    cases = [open_case(folder) for _ in range(300)]
    source = PatchBatches(cases, plan, Augmentation("light", plan.patch))
    before = psutil.Process().num_fds()
    for number in range(60):
        source.batch(number)
    assert psutil.Process().num_fds() <= before + OPEN_FILES


def test_a_case_is_a_handful_of_files_however_many_classes_it_shows(prepared):
    one, many = (
        prepared(labels, name)[0].folder
        for name, labels in (
            ("one", np.ones((20, 24), np.uint8)),
            ("many", default_rng(0).integers(0, 6, (20, 24), np.uint8)),
        )
    )
    assert len(list(one.rglob("*"))) == len(list(many.rglob("*"))) <= 4


def test_places_of_a_label_are_all_of_its_voxels_where_these_are_few(prepared):
    labels = default_rng(1).choice(np.array([0, 1, 3, 5, IGNORE], np.uint8), (20, 24))
    case, _ = prepared(labels)
    stored = np.asarray(case.labels)
    assert case.foreground == [1, 3, 5]
    for label in case.foreground:
        assert np.array_equal(case.places_of(label), np.argwhere(stored == label))
    assert np.array_equal(case.annotated, np.argwhere(stored != IGNORE))


def test_a_case_that_is_prepared_anew_is_read_anew(prepared, tmp_path):
    first, _ = prepared(np.ones((20, 24), np.uint8))
    assert first.labels.max() == 1
    for file in (tmp_path / "case").iterdir():
        file.unlink()
    (tmp_path / "case").rmdir()
    again, _ = prepared(np.full((20, 24), 2, np.uint8))
    assert again.labels.max() == 2
    assert again.foreground == [2]


@pytest.fixture
def cached(tmp_path, prepared):
    """A dataset whose cases are prepared, the plan, and the folder that they lie in."""
    plan = prepared(np.ones((20, 24), np.uint8))[1]
    data = plain_folder(tmp_path / "data", values=(1,), image_shape=(20, 24))
    for mask in (data / "masks").iterdir():
        write_png(mask, mask_values(1, size=(20, 24)))
    prepare_cases(load_dataset(data), plan, tmp_path / "cache")
    return data, plan, tmp_path / "cache"


def test_cases_that_are_prepared_are_opened(cached):
    data, plan, folder = cached
    before = folder.stat().st_ino
    prepare_cases(load_dataset(data), changed_plan(plan, {"minutes": 2.0}), folder)
    assert folder.stat().st_ino == before


def test_cases_that_were_prepared_by_another_plan_are_prepared_anew(cached):
    data, plan, folder = cached
    other = changed_plan(plan, {"normalisation": [{"kind": "rescale", "low": 0, "high": 1}]})
    before, after = (
        np.array(prepare_cases(load_dataset(data), each, folder)[-1].image)
        for each in (plan, other)
    )
    assert not np.array_equal(before, after)


def test_cases_that_were_prepared_of_other_masks_are_prepared_anew(cached):
    data, plan, folder = cached
    for mask in (data / "masks").iterdir():
        write_png(mask, mask_values(0, 0, 0, 1, 1, size=(20, 24)))
    cases = prepare_cases(load_dataset(data), plan, folder)
    assert {len(case.places_of(1)) for case in cases} == {2}


def test_cases_whose_files_were_cut_are_prepared_anew(cached):
    data, plan, folder = cached
    image = next(folder.iterdir()) / "image.npy"
    whole = image.read_bytes()
    image.write_bytes(whole[:200])
    prepare_cases(load_dataset(data), plan, folder)
    assert image.read_bytes() == whole
