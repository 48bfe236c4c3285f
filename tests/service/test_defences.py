"""The list of defences whose removal must be noticed, benchmarks/defences.py."""

from pathlib import Path

import pytest

from benchmarks.defences import DEFENCES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("defence", DEFENCES, ids=lambda defence: defence.against)
def test_a_defence_and_its_test_are_where_the_list_says(defence):
    assert (ROOT / defence.file).read_text(encoding="utf-8").count(defence.code) == 1
    file, _, name = defence.test.partition("::")
    assert not name or f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8")
