import numpy as np
import pytest

from seg.objects.counting import count_of, probabilities_of_objects
from training.evaluation.object_calibration import fit_counts, fit_scores


def drawn_counts(rng, images, spread, tiles=16, a_tile=12):
    """Found and true objects of tiles; every image has its own share of what is missed."""
    counts = []
    for _ in range(images):
        share = max(0.1, rng.normal(0.95, spread))
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


def test_few_objects_are_no_ground_for_a_probability():
    assert fit_scores(np.ones(5), np.ones(5, bool)) is None
    assert np.isnan(probabilities_of_objects(np.ones(3), None)).all()
    assert count_of(7, None).interval is None
