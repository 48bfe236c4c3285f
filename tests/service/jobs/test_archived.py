"""What an archive does not get."""

import json

from service.archives.destinations import Destinations
from service.jobs.archived import ArchivedJobs
from service.jobs.files import HEAD, JobFiles
from service.jobs.records import Job, Progress
from service.requests.order import ArchiveOrder
from service.settings import Settings


def test_a_result_below_the_lowest_predicted_dice_is_withheld_where_so_configured(tmp_path):
    files = JobFiles(str(tmp_path))
    settings = Settings(
        lowest_dice=0.8, below_lowest_dice="withhold", dicomweb="pacs=http://127.0.0.1:9/dicom-web"
    )
    jobs = ArchivedJobs(files, Destinations.of(settings), settings)
    job = _job()
    with files.writing(job.id, HEAD) as file:
        file.write(json.dumps({"media_type": "application/dicom", "is_draft": True}).encode())
    result = jobs.worked(job, ArchiveOrder(destination="pacs"), _nothing, _nothing, _never)
    assert result["stored"] == []
    assert "SEG_LOWEST_DICE" in result["not_stored"]


def _nothing():
    """Never stops the work."""


def _job():
    unknown = ("started", "finished", "problem_status", "problem_detail", "result")
    unknown += ("content_hash", "traceparent")
    return Job(
        id="1", owner="", state="running", model="m:1", order={}, images=[], created=0, expires=1,
        attempts=1, progress=Progress(), now=0, **dict.fromkeys(unknown),
    )  # fmt: skip


def _never(series):
    raise AssertionError("the result is there already")
