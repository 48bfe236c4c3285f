"""Cases on disk, of which any number can be trained on."""

import numpy as np
import psutil
import pytest
from numpy.random import default_rng

from seg.images import Image, Mask
from seg.model_package import Channel
from training.dataset import IGNORE, Legend
from training.dataset.classes import make_classes
from training.dataset.fingerprint import take_fingerprint
from training.planning.rules import make_plan
from training.samples.augmentation import Augmentation
from training.samples.patch_batches import PatchBatches
from training.samples.prepared_cases import OPEN_FILES, open_case, prepare_case

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
