"""A quick pass over all cases before a training starts."""

import numpy as np

from seg.errors import DatasetError
from training.dataset.cases import Dataset

_MOST_LISTED = 5


def check(dataset: Dataset) -> None:
    """Read every case once, one at a time, and say what is wrong with the first few.

    Files that cannot be read, sizes or places of image and mask that differ, mask values without a
    class, NaN; and classes that no training case shows.

    Raises:
        DatasetError: a case cannot be trained on.
    """
    problems: list[str] = []
    seen = np.zeros(len(dataset.classes), dtype=bool)
    for case in dataset.cases:
        try:
            image, mask = dataset.read(case)
        except DatasetError as error:
            problems.append(str(error))
            continue
        if not np.isfinite(image.array).all():
            problems.append(f"case {case.name}: the image holds NaN or infinity; replace them")
        if case.split == "train":
            present = dataset.legend.members()[np.unique(mask.array)].any(axis=0)
            seen[1:] |= present
            seen[0] |= bool((mask.array == 0).any())
    if problems:
        listed = "\n  ".join(problems[:_MOST_LISTED])
        more = len(problems) - _MOST_LISTED
        rest = f"\n  and {more} more" if more > 0 else ""
        raise DatasetError(
            f"{len(problems)} of {len(dataset.cases)} cases cannot be used; repair or remove "
            f"them:\n  {listed}{rest}"
        )
    absent = [each.name for each in dataset.classes if not seen[each.index]]
    if len(absent) >= len(dataset.classes) - 1:
        raise DatasetError(f"no training case shows {', '.join(absent)}: there is nothing to learn")
