import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.run.clock import SCHEDULES, Clock, learning_rate_factor


def test_progress_is_the_share_of_the_minutes_that_is_spent():
    assert Clock(minutes=200, spent_s=3000).progress(step=999) == pytest.approx(0.25, abs=0.01)


def test_what_a_command_takes_to_begin_is_known():
    waits = (
        "import time; time.sleep(0.5); from training.run.clock import age_of_this_process_s as age"
    )
    told = subprocess.run(
        [sys.executable, "-c", f"{waits}; print(age())"], check=True, capture_output=True, text=True
    )
    assert 0.4 < float(told.stdout) < 300


def test_with_a_number_of_steps_time_does_not_count():
    assert Clock(minutes=1, steps=10, spent_s=1e6).progress(step=5) == 0.5


def test_progress_ends_at_1():
    assert Clock(minutes=1, spent_s=61).progress(step=0) == 1


@given(st.floats(0, 1), st.floats(0, 0.9), st.sampled_from(sorted(SCHEDULES)))
def test_the_learning_rate_stays_between_0_and_its_highest(progress, warmup, schedule):
    assert 0 <= learning_rate_factor(progress, warmup, schedule) <= 1


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_the_learning_rate_rises_then_falls_to_0(schedule):
    factors = [learning_rate_factor(p / 100, 0.1, schedule) for p in range(101)]
    assert factors.index(max(factors)) == 10
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[-1] == 0


def test_half_way_down_the_schedules_are_where_their_sources_say():
    assert learning_rate_factor(0.5, 0.0, "poly") == pytest.approx(0.5**0.9)
    assert learning_rate_factor(0.5, 0.0, "cosine") == pytest.approx(0.5)
