"""Cases that are worked on by several processes."""

import functools
import os
import pickle
from pathlib import Path

import pytest

from training.dataset import in_processes
from training.dataset.cases import Case

CASES = [
    Case(name=str(number), images=(Path(__file__),), mask=Path(__file__), split="train")
    for number in range(12)
]


class Heavy:
    """Notes each time that it is sent to a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        (self.folder / f"{os.getpid()} {len(list(self.folder.iterdir()))}").touch()
        return Heavy, (self.folder,)


def name_of(heavy, case):
    assert isinstance(heavy, Heavy)
    return case.name, os.getpid()


def test_what_the_work_needs_is_sent_once_to_each_process(tmp_path, monkeypatch):
    monkeypatch.setattr(in_processes, "BYTES_FOR_PROCESSES", 0)
    monkeypatch.setattr(in_processes, "cores", lambda: 2)
    found = list(in_processes.spread(functools.partial(name_of, Heavy(tmp_path)), CASES))
    assert [name for name, _ in found] == [case.name for case in CASES]
    assert os.getpid() not in {process for _, process in found}
    assert len(list(tmp_path.iterdir())) <= 2


def test_work_that_fails_in_a_process_fails_here(monkeypatch):
    monkeypatch.setattr(in_processes, "BYTES_FOR_PROCESSES", 0)
    monkeypatch.setattr(in_processes, "cores", lambda: 2)
    with pytest.raises(pickle.PicklingError):
        list(in_processes.spread(functools.partial(_unpicklable), CASES[:2]))


def _unpicklable(case):
    raise pickle.PicklingError(case.name)
