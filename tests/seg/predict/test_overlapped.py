import threading
from types import SimpleNamespace

import pytest

from seg.errors import ImageError
from seg.predict.asked import PredictionJob
from seg.predict.cases import PredictionCase
from seg.predict.outcome import Outcome
from seg.predict.overlapped import run_here
from seg.predict.work import Worker

PATIENCE_S = 10


class Fake(Worker):
    """A worker whose steps take what a test wants them to."""

    def __init__(self, **steps):
        self.steps = SimpleNamespace(**steps)
        self.alive = self.most_alive = 0
        self.lock = threading.Lock()

    def read(self, job):
        with self.lock:
            self.alive += 1
            self.most_alive = max(self.most_alive, self.alive)
        return getattr(self.steps, "read", lambda name: name)(job.case.name)

    def predict(self, case, image):
        getattr(self.steps, "predict", lambda name: name)(image)

        def write():
            getattr(self.steps, "write", lambda name: name)(image)
            with self.lock:
                self.alive -= 1
            return Outcome(case.name)

        return write


def jobs(names):
    return [PredictionJob(PredictionCase(name, ())) for name in names]


def test_the_next_image_is_read_and_the_last_mask_written_while_the_network_works():
    reading, writing = threading.Event(), threading.Event()

    def read(name):
        if name == "c":
            reading.set()
        return name

    def predict(name):
        if name == "b":
            assert reading.wait(PATIENCE_S)
            assert writing.wait(PATIENCE_S)
        return name

    def write(name):
        if name == "a":
            writing.set()

    worker = Fake(read=read, predict=predict, write=write)
    assert [each.failure for each in run_here(worker, jobs("abc"))] == [None] * 3


def test_few_images_are_in_memory_at_a_time():
    worker = Fake()
    assert [each.case for each in run_here(worker, jobs("abcdefghij"))] == list("abcdefghij")
    assert worker.most_alive <= 4


@pytest.mark.parametrize("step", ["read", "predict", "write"])
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ImageError("no picture"), "no picture"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (MemoryError(), "not enough memory"),
        (KeyError("x"), "unexpected KeyError, please report it: 'x'"),
    ],
)
def test_a_case_that_fails_at_any_step_costs_no_other(step, error, sentence):
    def fail(name):
        if name == "b":
            raise error
        return name

    outcomes = list(run_here(Fake(**{step: fail}), jobs("abc")))
    assert [(each.case, each.failure) for each in outcomes] == [
        ("a", None), ("b", sentence), ("c", None),
    ]  # fmt: skip
