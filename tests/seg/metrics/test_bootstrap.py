import math

import numpy as np
import pytest
import scipy.stats

from seg.metrics import bootstrap_mean


def test_the_interval_is_that_of_scipys_bootstrap():
    values = np.random.default_rng(0).normal(0.8, 0.1, 40)
    ours = bootstrap_mean(values, np.random.default_rng(1), resamples=4000)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.003)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    estimates = [bootstrap_mean(rng.normal(size=50), rng, resamples=100) for _ in range(100)]
    covered = np.mean([estimate.low < 0 < estimate.high for estimate in estimates])
    assert covered > 0.86


def test_a_lower_level_gives_a_narrower_interval():
    values = np.random.default_rng(0).normal(size=30)
    wide = bootstrap_mean(values, np.random.default_rng(1), level=0.95)
    narrow = bootstrap_mean(values, np.random.default_rng(1), level=0.5)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_cases_without_a_score_do_not_count():
    values = np.array([0.5, np.nan, 0.7])
    estimate = bootstrap_mean(values, np.random.default_rng(0))
    assert estimate.mean == pytest.approx(0.6)
    assert estimate.cases == 2
    assert (estimate.low, estimate.high) == (0.5, 0.7)


@pytest.mark.parametrize("values", [[], [math.nan]])
def test_no_score_at_all_gives_no_estimate(values):
    estimate = bootstrap_mean(np.array(values), np.random.default_rng(0))
    assert estimate.cases == 0
    assert all(math.isnan(number) for number in (estimate.mean, estimate.low, estimate.high))


def test_the_same_generator_gives_the_same_interval():
    values = np.linspace(0, 1, 7)
    assert bootstrap_mean(values, np.random.default_rng(3)) == bootstrap_mean(
        values, np.random.default_rng(3)
    )


def of_subjects(rng, subjects=12, slices=20):
    """Scores that vary between subjects more than within them."""
    means = rng.normal(0, 1, subjects)
    values = np.repeat(means, slices) + rng.normal(0, 0.1, subjects * slices)
    return values, [f"s{number}" for number in np.repeat(np.arange(subjects), slices)]


def test_many_slices_of_few_subjects_say_no_more_than_the_subjects():
    values, groups = of_subjects(np.random.default_rng(0))
    of_slices = bootstrap_mean(values, np.random.default_rng(1))
    whole = bootstrap_mean(values, np.random.default_rng(1), groups)
    means = values.reshape(12, 20).mean(axis=1)
    of_means = bootstrap_mean(means, np.random.default_rng(2), resamples=4000)
    assert (whole.cases, whole.units, whole.mean) == (240, 12, pytest.approx(values.mean()))
    assert (whole.low, whole.high) == pytest.approx((of_means.low, of_means.high), abs=0.05)
    assert whole.high - whole.low > 3 * (of_slices.high - of_slices.low)


def test_intervals_of_subjects_cover_the_true_mean_where_those_of_slices_do_not():
    rng = np.random.default_rng(0)
    rounds = [of_subjects(rng) for _ in range(100)]
    held = [
        np.mean([(e := bootstrap_mean(v, rng, g, resamples=200)).low < 0 < e.high for v, g in each])
        for each in (rounds, [(values, None) for values, _ in rounds])
    ]
    assert held[0] > 0.85
    assert held[1] < 0.5


def test_subjects_of_one_case_each_are_cases():
    values = np.linspace(0, 1, 7)
    rngs = [np.random.default_rng(3) for _ in range(2)]
    assert bootstrap_mean(values, rngs[0], list("abcdefg")) == bootstrap_mean(values, rngs[1])


def test_one_subject_tells_nothing_of_others():
    estimate = bootstrap_mean(np.array([0.2, 0.8, np.nan]), np.random.default_rng(0), ["a"] * 3)
    assert (estimate.cases, estimate.units) == (2, 1)
    assert estimate.low == estimate.high == estimate.mean
