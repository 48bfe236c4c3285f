import numpy as np
import pytest

from seg.images import ClassInfo
from seg.objects.counting import count_of, probabilities_of_objects
from training.evaluation.object_calibration import fit_counts, fit_scores
from training.evaluation.object_scores import ObjectWorth
from training.evaluation.object_tuning import TuningCase, _an_object, _best_encoding, _best_way


def drawn_counts(rng, images, spread, usual=0.95, tiles=16, a_tile=12):
    """Found and true objects of tiles; every image has its own share of what is missed."""
    counts = []
    for _ in range(images):
        share = max(0.1, rng.normal(usual, spread))
        found = rng.poisson(a_tile, tiles)
        counts.append(
            np.stack([found, rng.poisson(0.3, tiles) + np.rint(share * found).astype(int)])
        )
    return counts


@pytest.mark.parametrize(("images", "spread"), [(2, 0.03), (6, 0.05), (15, 0.02)])
def test_intervals_hold_the_true_number_about_as_often_as_they_say(images, spread):
    rng = np.random.default_rng(0)
    held = []
    for _ in range(150):
        calibration = fit_counts(drawn_counts(rng, images, spread))
        ((found, true),) = (each.sum(axis=1) for each in drawn_counts(rng, 1, spread))
        low, high = count_of(int(found), calibration).interval
        held.append(low <= true <= high)
    assert np.mean(held) >= 0.9


def test_images_of_one_subject_say_of_the_spread_what_one_image_says():
    rng = np.random.default_rng(0)
    held = {"images": [], "subjects": []}
    for _ in range(150):
        counts, subjects = [], []
        for subject, share in enumerate(rng.normal(0.95, 0.06, 4)):
            counts += drawn_counts(rng, 5, 0, share)
            subjects += [f"p{subject}"] * 5
        ((found, true),) = (e.sum(1) for e in drawn_counts(rng, 1, 0, rng.normal(0.95, 0.06)))
        for unit, groups in (("images", None), ("subjects", subjects)):
            low, high = count_of(int(found), fit_counts(counts, groups)).interval
            held[unit].append(low <= true <= high)
    assert np.mean(held["images"]) < 0.85 < np.mean(held["subjects"])
    assert fit_counts(counts, subjects).images == 4


def test_probabilities_rise_with_the_score_and_are_true():
    rng = np.random.default_rng(1)
    scores = rng.uniform(0.3, 1, 4000)
    hits = rng.uniform(size=4000) < scores**2
    calibration = fit_scores(scores[:2000], hits[:2000])
    said = probabilities_of_objects(scores[2000:], calibration)
    assert (np.diff(said[np.argsort(scores[2000:])]) >= 0).all()
    for low, high in ((0.1, 0.4), (0.4, 0.7), (0.7, 1.0)):
        inside = (said >= low) & (said < high)
        assert abs(said[inside].mean() - hits[2000:][inside].mean()) < 0.06


def test_many_tiles_tell_more_of_an_interval_than_few_images():
    known = fit_counts(drawn_counts(np.random.default_rng(0), 2, 0.0))
    unknown = known.model_copy(update={"tiles": None})  # as packages of before
    widths = [np.ptp(count_of(200, each).interval) for each in (known, unknown)]
    assert 0.6 < widths[0] / widths[1] < 0.95


def test_few_objects_are_no_ground_for_a_probability():
    assert fit_scores(np.ones(5), np.ones(5, bool)) is None
    assert np.isnan(probabilities_of_objects(np.ones(3), None)).all()
    assert count_of(7, None).interval is None


def two_sizes(scale, spacing):
    """Objects that the network finds, and specks that are none, on a grid so many times finer."""
    numbers, classes = np.zeros((2, 40, 60), np.int32)
    for number in range(24):
        y, x = 10 * (number // 6), 10 * (number % 6)
        numbers[y : y + 6, x : x + 6] = number + 1
        classes[y : y + 6, x : x + 6] = 1
        classes[y + 8, x + 8] = 1  # a speck
    fine = np.kron(np.stack([numbers, classes]), np.ones((1, scale, scale), np.int32))
    labels = (fine[0] > 0).astype(np.uint8)
    full = np.full(labels.shape, 255, np.uint8)
    return TuningCase(
        classes=fine[1].astype(np.uint8), heights={"components": full},
        sure=full, reference=fine[0], labels=labels,
        spacing=spacing, scale=float(scale**2),
    )  # fmt: skip


def test_sizes_are_told_in_voxels_of_the_network_whatever_the_grid_of_the_images():
    info = ClassInfo(index=1, name="cell", color=(0, 0, 0))
    ways = [
        _best_way([two_sizes(scale, (1 / scale, 1 / scale))], "components", info, "mm", None)
        for scale in (1, 3)
    ]
    assert ways[0].rule.smallest == ways[1].rule.smallest > 1
    assert ways[0].found.precision == ways[1].found.precision == 1


def test_of_rules_that_learnt_cases_cannot_tell_apart_the_middle_is_taken_not_the_first():
    numbers = np.zeros((40, 60), np.int32)
    for number in range(24):
        y, x = 10 * (number // 6), 10 * (number % 6)
        numbers[y : y + 6, x : x + 6] = number + 1
    is_object = (numbers > 0).astype(np.uint8)
    by_heart = TuningCase(
        classes=is_object, heights={"distance": 255 * is_object}, sure=255 * is_object,
        reference=numbers, labels=is_object, spacing=None,
    )  # fmt: skip
    info = ClassInfo(index=1, name="cell", color=(0, 0, 0))
    seen, unseen = (
        _best_way([by_heart], "distance", info, "voxel", slack).rule
        for slack in (_an_object([by_heart], info), None)
    )
    assert (unseen.seed, unseen.smallest) == (0.15, 1)
    assert seen.seed == 0.55
    assert 1 < seen.smallest < 36 / 2
    assert seen.smallest_seed >= 1


def test_depths_are_preferred_where_learnt_cases_cannot_tell():
    perfect, nearly, bad = (ObjectWorth(worth, worth) for worth in (1.0, 0.97, 0.8))
    alike = {"border": perfect, "distance": nearly, "components": perfect}
    assert _best_encoding(alike, None) == "border"
    assert _best_encoding(alike, 1 / 16) == "distance"
    assert _best_encoding({**alike, "distance": bad}, 1 / 16) == "border"
