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
