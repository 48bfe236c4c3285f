"""Sizing advice, from a service that really runs."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from service.size import MeasuredService, advice
from tests.service.conftest import ROOT

SEEN = MeasuredService(
    shape=(512, 512),
    idle_mb=400,
    one_mb=450,
    several_mb=700,
    at_once=6,
    seconds=0.5,
    cpu_seconds=0.7,
)


def test_memory_is_that_of_idle_and_of_each_image_in_flight_and_a_quarter():
    assert SEEN.image_mb == 50
    given = advice(SEEN, per_second=1, at_once=8)
    assert 1.25 * (400 + 8 * 50) <= given.memory_mb < 1.25 * (400 + 8 * 50) + 64
    assert given.threads == 8


def test_a_further_image_counts_where_it_takes_more_than_the_first():
    assert replace(SEEN, several_mb=950).image_mb == 100


@pytest.mark.parametrize(("per_second", "cores"), [(0.1, 1.0), (1, 1.0), (10, 10.0)])
def test_cores_are_busy_for_seven_tenths_of_their_time(per_second, cores):
    assert advice(SEEN, per_second, 4).cores == pytest.approx(cores, abs=0.1)


def sized(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "service.size", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_a_package_is_measured_in_a_running_service(tiny_package):
    ended = sized(tiny_package, "--json", "--per-second", "5", "--at-once", "2")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    measured = found["measured"]
    assert measured["shape"] == [512, 512]
    assert 50 < measured["idle_mb"] <= measured["one_mb"] <= 5000
    assert measured["cpu_seconds"] > 0
    assert found["advice"]["memory_mb"] > measured["several_mb"]


def test_what_is_no_package_is_refused_in_a_sentence(tmp_path):
    ended = sized(tmp_path)
    assert ended.returncode == 2
    assert "no model package" in ended.stderr
    assert "Traceback" not in ended.stderr
