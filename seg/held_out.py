"""Which names of a dataset no training sees, where nobody says it."""

import hashlib
from collections.abc import Mapping

TEST_SHARE = 0.2
"""Share of the cases held out where the folder names no test cases."""


def held_out(sizes: Mapping[str, int]) -> set[str]:
    """A fifth of the cases, at least one: names of the groups with the smallest hashes.

    Neither the order of the files nor a random seed matters, and one more case moves at most one
    other.

    Args:
        sizes: cases of each group that stays together; two groups at least.
    """
    ordered = sorted(sizes, key=lambda group: hashlib.sha256(group.encode()).digest())
    test = {ordered[0]}
    for group in ordered[1:-1]:
        if sum(sizes[each] for each in test) >= most_held_out(sum(sizes.values())):
            break
        test.add(group)
    return test


def most_held_out(cases: int) -> int:
    """How many of so many cases are held out."""
    return max(1, round(TEST_SHARE * cases))
