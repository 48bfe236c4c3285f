"""What is told of a job."""

import json

import anyio
from starlette.requests import Request

from service.jobs.routes import JobRoutes
from tests.service.jobs.queued import queue_of


def test_a_job_that_waits_says_what_it_waits_for(tmp_path, tiny_package):
    with queue_of(tiny_package, tmp_path) as queue:
        job = queue.enqueued()
        routes = JobRoutes(queue.models, queue.jobs, None)

        def waits_for() -> str | None:
            request = Request({"type": "http", "method": "GET", "path_params": {"job": job}})
            return json.loads(anyio.run(routes.show, request).body)["waits_for"]

        assert waits_for() is None
        (version,) = queue.models.versions()
        version.model.health._reason = "the device fails on a golden sample"
        assert waits_for() == "the device fails on a golden sample"
        version.model.health._reason = None
        queue.models._drop(version)
        assert waits_for() == f"{version.label} is not here any more"
