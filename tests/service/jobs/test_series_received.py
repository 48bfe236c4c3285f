"""Series that were sent, as they become jobs."""

import dataclasses
import io
import zipfile

import pytest

from service.archives.rules import SeriesFacts
from service.jobs.files import JobFiles
from service.jobs.received import Inbox, ReceivedSeries
from service.problems.response import Problem
from service.requests.order import ArchiveOrder, Order
from service.settings import Settings

FACTS = SeriesFacts(
    series="1.2.3",
    study="1.2",
    modality="CT",
    description="",
    thickness_mm=None,
    direction="axial",
)


def received(*instances: str) -> ReceivedSeries:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for each in instances:
            archive.writestr(f"{each}.dcm", bytes(100))
    slices = dict.fromkeys(instances, 1)
    return ReceivedSeries(dataclasses.replace(FACTS, slices_of=slices), file)


def decided(_: SeriesFacts) -> tuple[str, Order]:
    return "model:1", Order(formats=("nifti",), archive=ArchiveOrder(destination="pacs"))


def test_a_series_that_grew_and_finds_no_room_leaves_no_job_behind_however_often(store, tmp_path):
    files = JobFiles(str(tmp_path / "jobs"))
    inbox = Inbox(store, files, Settings(max_jobs=5, max_jobs_mb=0.0005))
    first = inbox.take("", received("1"), decided, silence_s=0)
    assert store.claim(["model:1"], "worker", lease_s=60, keep_s=60).id == first
    for _ in range(10):  # as who sends it tries again
        with pytest.raises(Problem) as problem:
            inbox.take("", received("1", "2", "3"), decided, silence_s=0)
        assert problem.value.status_code == 507
    assert [job.id for job in store.of_owner("", 10)] == [first]
    assert [path.name for path in files.folder.iterdir() if path.is_dir()] == [first]
