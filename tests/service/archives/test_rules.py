"""Which series are segmented where the operator has written no rules."""

import pytest

from seg.model_package import read_card
from service.archives.rules import SeriesFacts, suits


@pytest.mark.parametrize(
    ("modality", "slices", "is_meant"),
    [("CT", 12, True), ("MR", 12, True), ("CT", 1, False), ("RTDOSE", 12, False)],
)
def test_volumes_that_a_scanner_made_are_meant(tiny_package_3d, modality, slices, is_meant):
    facts = SeriesFacts("1.2", "1", modality, "", None, "axial", {"1.2.3": slices})
    assert suits(facts, read_card(tiny_package_3d)) == is_meant
