"""Which images no training sees: fixed when a mask is first done, so that none ever changes side.

Where ``dataset.yaml`` names test cases or subjects, or the folder has a ``test/``, that counts, and
nothing is done here.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

from seg.files import replace_file
from seg.held_out import held_out, most_held_out
from service.problems.response import Problem
from service.studio.on_disk.classes import CARD, HELD_BACK, split_of, write_split

TEST_FOLDERS = ("test", "val")


def held_back(folder: Path) -> tuple[str, ...]:
    """The images that are held back here."""
    try:
        lines = (folder / HELD_BACK).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    return tuple(line.strip() for line in lines if line.strip())


Side = Literal["train", "test"]


def hold_back(
    folder: Path,
    new: str,
    done: Collection[str],
    images: Collection[str],
    before: Side | None = None,
) -> None:
    """Decide on which side an image lies whose mask is done for the first time.

    Those that were done before stay where training has had them, as does an image that lay on a
    side ``before`` its mask was taken away.
    """
    known = sorted({name for name in done if name in images} - {new})
    if new in done or not (folder / CARD).is_file():
        return
    split = split_of(folder)
    is_ours = split == {"test": HELD_BACK}
    if (split and not is_ours) or _is_split(folder):
        return
    if is_ours:
        test = list(held_back(folder))
    elif not known:
        return  # alone it is on no side; with the second, one of them is held back
    else:
        test = sorted(held_out(dict.fromkeys(known, 1))) if len(known) > 1 else []
    if before == "test" or (not before and len(test) < most_held_out(len(known) + 1)):
        test.append(new)
    _write(folder, test)
    if not is_ours:
        write_split(folder)


def forget_held_back(folder: Path, name: str) -> None:
    """An image that is no longer there is on no side."""
    test = held_back(folder)
    if name in test:
        _write(folder, [each for each in test if each != name])


def _write(folder: Path, names: Sequence[str]) -> None:
    replace_file(folder / HELD_BACK, "".join(f"{name}\n" for name in names).encode(), mode=0o600)


def check_done(folder: Path, done: int) -> None:
    """Pass where so many images that are done are enough to train and to measure with.

    Raises:
        Problem: 409, they are too few.
    """
    if done > 1 or (done and _is_split(folder)):
        return
    found = "one image is done" if done else "nothing is done yet"
    raise Problem(
        409,
        f"{found}, and a training needs two images, one to learn of and one to measure with: "
        'outline objects, drag a box around them with "Area done", then say Done',
    )


def _is_split(folder: Path) -> bool:
    """Somebody has put images aside to measure with."""
    return any((folder / name).is_dir() for name in TEST_FOLDERS)
