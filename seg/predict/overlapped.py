"""All cases on this machine: the next is read and the last is written while the network works."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

from seg.images import Image
from seg.leavable_pool import LeavablePool, leavable_pool
from seg.predict.asked import PredictionJob
from seg.predict.outcome import Outcome, failed
from seg.predict.work import Streamed, Worker

AHEAD = 1
"""Images that are read, or masks that are to be written, while another is segmented. With the one
at work that bounds how many are in memory."""


def run_here(worker: Worker, jobs: Sequence[PredictionJob]) -> Iterator[Outcome]:
    """Outcomes in the order of the jobs."""
    images: deque[Future[Image | Streamed | None]] = deque()
    outcomes: deque[Future[Outcome]] = deque()
    rest = iter(jobs)
    with leavable_pool(1, "read") as reader, leavable_pool(1, "write") as writer:
        for job in jobs:
            while len(images) <= AHEAD and (coming := next(rest, None)):
                images.append(reader.submit(worker.read, coming))
            outcomes.append(_segmented(worker, job, images.popleft(), writer))
            while len(outcomes) > AHEAD:
                yield outcomes.popleft().result()
        while outcomes:
            yield outcomes.popleft().result()


def _segmented(
    worker: Worker,
    job: PredictionJob,
    image: Future[Image | Streamed | None],
    writer: LeavablePool,
) -> Future[Outcome]:
    try:
        found = image.result()
        if found is None:
            return _known(Outcome(job.case.name, is_skipped=True))
        write = worker.predict(job.case, found)
    except Exception as error:
        return _known(failed(job.case, error))

    def finish() -> Outcome:
        try:
            return write()
        except Exception as error:
            return failed(job.case, error)

    return writer.submit(finish)


def _known(outcome: Outcome) -> Future[Outcome]:
    future: Future[Outcome] = Future()
    future.set_result(outcome)
    return future
