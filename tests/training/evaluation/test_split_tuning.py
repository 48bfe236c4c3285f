"""Values that split objects by their shape, from training cases with and without numbers."""

import numpy as np
import pytest
import tifffile

from seg.inference import Predictor
from seg.model_package import ModelPackage
from seg.objects import components
from tests.packages import write_package
from training.dataset import load_dataset
from training.evaluation.split_tuning import ToldApart, fit_split_of_rest, fit_splitting

CLASSES = "classes: [background, cytoplasm, nucleus]\n"


def pairs_of_discs(seed, radius=7):
    """Numbers of discs, every second of which touches the one before, and some specks."""
    rng = np.random.default_rng(seed)
    numbers = np.zeros((120, 120), np.uint16)
    y, x = np.mgrid[:120, :120]
    for row in range(4):
        for column in range(3):
            middle = np.array([16 + 28 * row, 12 + 38 * column])
            near = np.add(middle, [0, 1.75 * radius if (row + column) % 2 else 18])
            for at in (middle, near):
                disc = (np.hypot(y - at[0], x - at[1]) < radius + rng.uniform(-0.5, 0.5)) & (
                    numbers == 0
                )
                numbers[disc] = numbers.max() + 1
    return numbers


@pytest.fixture(params=["numbered", "classes alone"])
def dataset(request, tmp_path):
    numbered = request.param == "numbered"
    for folder in ("images", "masks", *(["classes"] if numbered else [])):
        (tmp_path / folder).mkdir()
    for case in range(3):
        numbers = pairs_of_discs(case)
        classes = np.where(numbers > 0, 2, 0).astype(np.uint8)
        image = np.where(numbers > 0, 220, 0).astype(np.uint8)
        image[:3, ::20] = 255  # what the network takes for nuclei too, and is none
        tifffile.imwrite(tmp_path / "images" / f"{case}.tif", image)
        tifffile.imwrite(tmp_path / "masks" / f"{case}.tif", numbers if numbered else classes)
        if numbered:
            tifffile.imwrite(tmp_path / "classes" / f"{case}.tif", classes)
    text = "masks: instances\n" if numbered else ""
    (tmp_path / "dataset.yaml").write_text(text + CLASSES)
    return load_dataset(tmp_path)


def test_values_are_such_that_what_touches_comes_apart_and_nothing_else(dataset, tmp_path):
    package = ModelPackage.load(write_package(tmp_path / "package"))
    splitting = fit_splitting(Predictor(package), dataset, dataset.cases)
    assert set(splitting.rules) == {"nucleus"}  # there is no cytoplasm
    rule = splitting.rules["nucleus"]
    assert splitting.unit == "voxel"
    assert 0.5 < rule.neck < 1  # two discs, 1.75 radii apart, meet in a neck of half a radius
    assert "3 training cases" in splitting.fitted_on


def test_few_objects_teach_nothing(dataset, tmp_path):
    package = ModelPackage.load(write_package(tmp_path / "package"))
    splitting = fit_splitting(Predictor(package), dataset, ())
    assert not splitting.rules


def in_one(numbers):
    """What an encoding leaves of it that tells nothing apart."""
    return components(numbers > 0)


def test_what_an_encoding_leaves_in_one_is_split_where_that_finds_more():
    cases = [pairs_of_discs(seed).astype(np.int32) for seed in range(3)]
    found, rule = fit_split_of_rest([ToldApart(in_one(n), n, (1.0, 1.0)) for n in cases], 30)
    assert rule is not None
    assert rule.smallest == 30
    assert found.precision > 0.2
    again = ToldApart(in_one(cases[0]), cases[0], (1.0, 1.0))
    split, is_cut = again.split(rule, np.ones(in_one(cases[0]).max() + 1, bool))
    assert len(np.unique(split)) - 1 == cases[0].max()
    assert is_cut.sum() == 6  # every second of twelve pairs touches


def test_nothing_is_split_where_all_are_told_apart_or_where_it_would_cut_true_objects():
    cases = [pairs_of_discs(seed).astype(np.int32) for seed in range(3)]
    assert fit_split_of_rest([ToldApart(n, n, (1.0, 1.0)) for n in cases], 1)[1] is None
    waists = [in_one(n) for n in cases]  # dumb-bells are one object each here
    assert fit_split_of_rest([ToldApart(n, n, (1.0, 1.0)) for n in waists], 1)[1] is None


def test_few_held_back_objects_are_no_ground_to_split_any():
    numbers = pairs_of_discs(0)[:40].astype(np.int32)
    assert fit_split_of_rest([ToldApart(in_one(numbers), numbers, (1.0, 1.0))], 1)[1] is None
