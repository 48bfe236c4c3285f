"""A job as its client sees it."""

from datetime import UTC, datetime

from seg.client.schemas import JobLinks, JobResult, JobStatus, ProblemDocument
from service.jobs.records import Job
from service.problems.document import problem


def status_of(job: Job, path: str, waits_for: str | None = None) -> JobStatus:
    """What is told of a job.

    Args:
        job: as it is now.
        path: of the job, as its client sees it.
        waits_for: why its model computes nothing now; told of a job that is queued.
    """
    images = len(job.images) or 1
    is_done = job.state == "done"
    at = job.progress  # as its worker told it last, some seconds before the end
    left = job.seconds_left
    return JobStatus(
        id=job.id,
        state=job.state,
        model=job.model,
        created=_time(job.created),
        started=None if job.started is None else _time(job.started),
        finished=None if job.finished is None else _time(job.finished),
        expires=_time(job.expires),
        attempts=job.attempts,
        jobs_ahead=job.ahead if job.state == "queued" else None,
        waits_for=waits_for if job.state == "queued" else None,
        progress=1.0 if is_done else round(at.fraction(images), 4),
        images_done=images if is_done else at.images_done,
        images_total=images,
        tiles_done=at.tiles_total if is_done else at.tiles_done,
        tiles_total=at.tiles_total or None,
        seconds_left=None if left is None else round(left, 1),
        problem=_problem_of(job),
        result=_result_of(job, path) if is_done else None,
        links=JobLinks(self=path, events=f"{path}/events", result=f"{path}/result"),
    )


def _problem_of(job: Job) -> ProblemDocument | None:
    if not job.problem_status:
        return None
    return ProblemDocument.model_validate(problem(job.problem_status, job.problem_detail))


def _result_of(job: Job, path: str) -> JobResult:
    assert job.result is not None
    return JobResult(
        href=f"{path}/result",
        media_type=job.result["media_type"],
        filename=job.result["filename"],
        bytes=job.result["bytes"],
        images_failed=job.result["failed"],
        stored=job.result.get("stored"),
        not_stored=job.result.get("not_stored"),
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(round(seconds, 3), UTC)
