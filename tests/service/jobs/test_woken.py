import threading
import time

import numpy as np

from service.jobs import runner
from tests.service.conftest import png
from tests.service.jobs.queued import queue_of

PATIENCE_S = 60


def test_a_new_job_is_taken_up_without_waiting_for_the_next_look(
    tiny_package, tmp_path, monkeypatch
):
    monkeypatch.setattr(runner, "POLL_S", 10 * PATIENCE_S)
    looked = threading.Event()
    with queue_of(tiny_package, tmp_path) as queue:
        claim = queue.jobs.store.claim

        def looking(*about, **more):
            job = claim(*about, **more)
            looked.set()
            return job

        monkeypatch.setattr(queue.jobs.store, "claim", looking)
        queue.jobs.start()
        assert looked.wait(PATIENCE_S)
        time.sleep(0.2)  # it found nothing, and waits
        job = queue.enqueued(png(np.zeros((16, 16), np.uint8)))
        queue.jobs.runner.wake()
        until = time.monotonic() + PATIENCE_S
        while queue.jobs.store.get(job).state != "done" and time.monotonic() < until:
            time.sleep(0.02)
        assert queue.jobs.store.get(job).state == "done"
        queue.jobs.close()
