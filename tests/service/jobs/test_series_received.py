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


def received(*instances: str, place: str = "here") -> ReceivedSeries:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for each in instances:
            archive.writestr(f"{each}.dcm", bytes(100))
    slices, looks = dict.fromkeys(instances, 1), dict.fromkeys(instances, (place, ""))
    return ReceivedSeries(dataclasses.replace(FACTS, slices_of=slices, looks_of=looks), file)


def decided(_: SeriesFacts) -> tuple[str, Order]:
    return "model:1", Order(formats=("nifti",), archive=ArchiveOrder(destination="pacs"))


def test_a_series_that_grew_and_finds_no_room_leaves_no_job_behind_however_often(store, tmp_path):
    files = JobFiles(str(tmp_path / "jobs"))
    inbox = Inbox(store, files, Settings(max_jobs=5, max_jobs_mb=0.0005))
    first = inbox.take("", received("1"), decided, silence_s=0).job
    assert store.claim(["model:1"], "worker", lease_s=60, keep_s=60).id == first
    for _ in range(10):  # as who sends it tries again
        with pytest.raises(Problem) as problem:
            inbox.take("", received("1", "2", "3"), decided, silence_s=0)
        assert problem.value.status_code == 507
    assert [job.id for job in store.of_owner("", 10)] == [first]
    assert [path.name for path in files.folder.iterdir() if path.is_dir()] == [first]


@pytest.mark.parametrize("is_at_work", [False, True], ids=["waiting", "at work"])
def test_another_image_of_a_name_that_came_before_is_told_and_never_taken_for_it(
    store, tmp_path, is_at_work
):
    inbox = Inbox(store, JobFiles(str(tmp_path / "jobs")), Settings(max_jobs=5))

    def clashing(*instances: str, place: str, owner: str = "") -> frozenset[str]:
        taken = inbox.take(owner, received(*instances, place=place), decided, silence_s=0)
        return taken.clashing

    assert clashing("1", "2", place="here") == frozenset()
    if is_at_work:
        store.claim(["model:1"], "worker", lease_s=60, keep_s=60)
    assert clashing("2", "3", place="there") == {"2"}
    assert clashing("1", "2", place="here") == frozenset()
    assert clashing("2", "3", place="there") == {"2"}, "also where nothing new comes"
    assert clashing("1", "2", "3", place="here") == {"3"}
    assert clashing("2", place="there", owner="somebody else") == frozenset()
