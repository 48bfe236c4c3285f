"""Training cases that the network does not learn from: on them it is chosen how objects are found.

Test cases must not decide that, and on cases that were learnt from a network is too sure of itself.
"""

import hashlib
from collections.abc import Sequence

from training.dataset.cases import Case

FEWEST_GROUPS = 5
"""Of fewer cases, or subjects, none can be spared."""
SHARE = 1 / 6
"""Of the cases, one at least."""


def tuning_split(cases: Sequence[Case]) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Cases to learn from and cases to tune on; both are all of them where they are few.

    A subject is never cut, and one case more moves at most one other.
    """
    groups = sorted(
        {case.group for case in cases},
        key=lambda group: hashlib.sha256(f"tune {group}".encode()).digest(),
    )
    if len(groups) < FEWEST_GROUPS:
        return tuple(cases), tuple(cases)
    kept = set(groups[: max(1, round(SHARE * len(groups)))])
    learnt = tuple(case for case in cases if case.group not in kept)
    return learnt, tuple(case for case in cases if case.group in kept)
