"""What faster ways cost is measured on whole cases, and only what costs nothing is taken."""

import numpy as np
import pytest

from seg.images import Image, Mask
from seg.inference.backends import ways
from seg.model_package import FasterWays, ModelPackage, OverlapCost
from tests.packages import LEVELS, write_package
from training.evaluation.regions import Region
from training.packaging.faster_ways import ways_in_words, with_ways
from training.packaging.way_costs import OVERLAPS, MeasuredCase, measure_ways, taken_overlap

REGIONS = {"cytoplasm": Region((1,), (1,)), "nucleus": Region((2,), (2,))}


@pytest.fixture
def package(tmp_path):
    return ModelPackage.load(write_package(tmp_path / "package", patch=(32, 32)))


def cases(number: int, size: int = 100, *, drawn: bool = True):
    """Plain blocks of levels, which the network tells rightly but at their borders."""

    def read(seed: int):
        classes = np.random.default_rng(seed).integers(0, 3, (size // 20, size // 20))
        labels = np.kron(classes, np.ones((20, 20), int)).astype(np.uint8)
        array = (255 * np.array(LEVELS)[labels])[None].astype(np.float32)
        return Image(array), Mask(labels) if drawn else None

    return [MeasuredCase(lambda seed=seed: read(seed), str(seed)) for seed in range(number)]


def test_the_smallest_overlap_that_loses_nothing_is_taken(package):
    found = measure_ways(package, cases(4), REGIONS, with_overlaps=True)
    assert found is not None
    assert [each.overlap for each in found.overlaps] == list(OVERLAPS)
    windows = [each.windows for each in found.overlaps]
    assert windows == sorted(windows, reverse=True)
    usual, *_, none = found.overlaps
    assert (usual.dice_lost, usual.labels_changed, usual.cases) == (0, 0, 4)
    # each voxel of the tiny network sees its neighbours alone, so windows need no overlap but at
    # their borders
    assert none.labels_changed > 0
    small = [each.overlap for each in found.overlaps if each.is_small()]
    assert taken_overlap(found, package.card) == min(small)
    card = with_ways(package.card, found)
    assert card.input.overlap == min(small)
    assert card.faster_ways == found


@pytest.mark.parametrize(
    ("lost", "taken"),
    [
        ({0.5: 0, 0.33: 0, 0.25: 0, 0.125: 0.01, 0.0: 0.01}, 0.25),
        ({0.5: 0, 0.33: 0.01, 0.25: 0.01, 0.125: 0.01, 0.0: 0}, 0.5),
        ({0.5: 0, 0.33: None, 0.25: 0, 0.125: 0.01, 0.0: 0}, 0.25),
    ],
    ids=["up to the first that loses", "no lucky one", "one of as many windows is passed over"],
)
def test_an_overlap_is_taken_where_no_larger_one_loses(package, lost, taken):
    ways_tried = FasterWays(
        usual_overlap=0.5,
        overlaps=tuple(
            OverlapCost(
                cases=4 if loss is not None else 0,
                dice_lost=loss or 0.0,
                ci95=(loss or 0.0, loss or 0.0),
                labels_changed=0.0,
                cpu_seconds=1.0,
                overlap=overlap,
                windows=9,
            )
            for overlap, loss in lost.items()
        ),
    )
    assert taken_overlap(ways_tried, package.card) == taken
    lines = {line[:14].strip(): line for line in ways_in_words(package.card, ways_tried)}
    assert ("overlap 0.33: as many windows as with 0.5" in lines.values()) == (lost[0.33] is None)
    assert all(
        "not taken" in lines[f"overlap {overlap:g}"]
        for overlap, loss in lost.items()
        if overlap < taken and loss is not None
    )


def test_images_of_one_window_say_nothing_about_overlap(package):
    found = measure_ways(package, cases(4, 20), REGIONS, with_overlaps=True)
    assert found is not None
    assert {each.cases for each in found.overlaps[1:]} == {0}
    assert taken_overlap(found, package.card) == 0.5


def test_without_references_the_usual_masks_are_the_measure(package):
    found = measure_ways(package, cases(3, drawn=False), REGIONS, with_overlaps=False)
    assert found is not None
    assert found.overlaps == ()
    (exact, *_) = found.precisions
    assert (exact.precision, exact.against, exact.dice, exact.dice_lost) == (
        *("float32", "float32"),
        *(None, 0.0),
    )


@pytest.mark.skipif(not ways.has_bfloat16(), reason="this CPU has no bfloat16")
def test_bfloat16_is_measured_where_the_hardware_has_it(package):
    found = measure_ways(package, cases(3), REGIONS, with_overlaps=False)
    assert found is not None
    _, coarse = found.precisions
    assert (coarse.precision, coarse.provider, coarse.cases) == ("bfloat16", "openvino", 3)
    assert 1e-4 < coarse.tolerance < 0.5
    assert coarse.mean_tolerance < coarse.tolerance
    assert coarse.labels_changed > 0


def test_too_few_cases_or_too_little_time_measure_nothing(package):
    assert measure_ways(package, cases(2), REGIONS, with_overlaps=True) is None
    assert measure_ways(package, cases(3), REGIONS, with_overlaps=True, budget_s=1e-6) is None
