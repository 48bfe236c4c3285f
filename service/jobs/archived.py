"""Jobs whose series lies in an archive, and whose results an archive is to store.

Each step leaves a file in the job's folder, so that a job that goes on after its archive was away,
or its worker died, fetches and segments nothing twice, and stores the very instances that it may
have stored before: an archive keeps one of them.
"""

import json
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import IO, Any

from pydantic import BaseModel

from seg.errors import ArchiveAwayError, ArchiveError, ImageTooLargeError
from service.answers.answer import Content
from service.archives.destinations import Destinations
from service.jobs.files import HEAD, RESULT, JobFiles
from service.jobs.received import FACTS, PART, merged
from service.jobs.records import Job
from service.requests.order import ArchiveOrder
from service.settings import Settings

WHICH, SERIES = "which", "series"
"""Files of a job: which series it is, and its instances as a ZIP file."""
AWAY = {"fetch": "away-fetch", "store": "away-store"}
"""Since when the archive of a step is away."""
LONGEST_WAIT_S = 60.0
WITHHELD = "the predicted Dice is below SEG_LOWEST_DICE, or none is predicted"
DICOM = "application/dicom"

Check = Callable[[], None]
"""Raises where the work is of no use any more."""


class SeriesName(BaseModel):
    """Which series a job is about."""

    study: str | None
    series: str


class ArchivedJobs:
    """What happens before and after the segmentation."""

    def __init__(self, files: JobFiles, destinations: Destinations, settings: Settings) -> None:
        self._files = files
        self.destinations = destinations
        self.sources = destinations.sources
        self._settings = settings

    def images(self, job: Job) -> list[list[Content]]:
        """The one image of such a job."""
        return [[partial(self._files.open, job.id, SERIES)]]

    def worked(
        self,
        job: Job,
        archive: ArchiveOrder,
        check: Check,
        check_held: Check,
        segment: Callable[[str | None], dict[str, Any]],
    ) -> dict[str, Any]:
        """The result of a job: fetched, segmented, stored.

        Args:
            job: is held.
            archive: from where and to where.
            check: is called now and then.
            check_held: is called before a result leaves.
            segment: writes the result and says what is told of it; is told which series is meant
                of what an archive gave.

        Raises:
            ArchiveError: a series cannot be had, or a result cannot be stored.
            ImageError: as ``segment``.
        """
        if not self._files.has(job.id, HEAD):
            self._fetch(job, archive, check)
            self._write_json(job.id, HEAD, segment(self._series_of(job, archive)))
        head: dict[str, Any] = json.loads(self._files.read(job.id, HEAD))
        check_held()
        if head.get("is_draft") and self._settings.below_lowest_dice == "withhold":
            return {**head, "stored": [], "not_stored": WITHHELD}
        return {**head, "stored": self._store(job, archive, head)}

    def waits(self, job: Job, again_s: float | None = None) -> float | None:
        """Seconds after which an archive that is away is asked again; None when that is over.

        Args:
            job: waits.
            again_s: when the archive wants to be asked; it is asked once more in any case.
        """
        name = AWAY["store" if self._files.has(job.id, HEAD) else "fetch"]
        if not self._files.has(job.id, name):
            self._write_json(job.id, name, time.time())
        away_s = max(0.0, time.time() - float(self._files.read(job.id, name)))
        left_s = self._settings.dicomweb_retry_s - away_s
        if left_s <= 0:
            return None
        usual_s = min(max(1.0, away_s), LONGEST_WAIT_S)
        return max(usual_s, min(again_s or 0.0, left_s))

    def _fetch(self, job: Job, archive: ArchiveOrder, check: Check) -> None:
        if archive.source is None:
            self._merge(job, archive)
            return
        if self._files.has(job.id, SERIES):
            return
        which = SeriesName.model_validate_json(self._files.read(job.id, WHICH))
        with (
            self.sources.reached(archive.source) as source,
            self._files.writing(job.id, SERIES) as target,
        ):
            (found,) = source.series(which.study, which.series)
            source.retrieve(found, target, self._settings.max_job_bytes, lambda _: check())

    def _series_of(self, job: Job, archive: ArchiveOrder) -> str | None:
        if archive.source is None:
            return None
        return SeriesName.model_validate_json(self._files.read(job.id, WHICH)).series

    def _merge(self, job: Job, archive: ArchiveOrder) -> None:
        """All that was sent of a series; the archive that stores the result may know of more."""
        names, most = job.images[0], self._settings.max_job_bytes
        if sum(self._files.size(job.id, name) for name in names) > most:
            raise ImageTooLargeError(
                f"the series has more than the {most / 1e6:g} MB that a job may have"
            )
        with self._files.writing(job.id, SERIES) as target:
            count = merged([partial(self._files.open, job.id, name) for name in names], target)
        facts = json.loads(self._files.read(job.id, FACTS + names[0].removeprefix(PART)))
        known = self._known_to(archive.destination, facts["study"], facts["series"])
        if known is not None and count < known:
            raise ArchiveAwayError(
                f"{count} of the {known} instances came that the archive "
                f"{archive.destination} says the series has"
            )

    def _known_to(self, destination: str | None, study: str, series: str) -> int | None:
        """Instances that an archive has of a series; None where it has none, or does not say."""
        if destination is None or destination not in self.sources.roots:
            return None
        try:
            with self.sources.reached(destination) as archive:
                (found,) = archive.series(study, series)
        except ArchiveError:
            return None
        return found.instances

    def _store(self, job: Job, archive: ArchiveOrder, head: dict[str, Any]) -> list[str]:
        if archive.destination is None:
            return []
        with (
            self.destinations.reached(archive.destination) as destination,
            self._instances(job.id, head) as instances,
        ):
            return destination.store(instances)

    @contextmanager
    def _instances(self, job: str, head: dict[str, Any]) -> Iterator[list[tuple[IO[bytes], int]]]:
        """Those of the result, each with its bytes."""
        with ExitStack() as opened:
            file = opened.enter_context(self._files.open(job, RESULT))
            if head["media_type"] == DICOM:
                yield [(file, head["bytes"])]
                return
            packed = opened.enter_context(zipfile.ZipFile(file))
            yield [
                (opened.enter_context(packed.open(info)), info.file_size)
                for info in packed.infolist()
                if info.filename.endswith(".dcm")
            ]

    def _write_json(self, job: str, name: str, value: object) -> None:
        with self._files.writing(job, name) as file:
            file.write(json.dumps(value).encode())


def in_words(error: ArchiveError) -> str:
    """What a client is told."""
    more = "; it was asked again and again" if isinstance(error, ArchiveAwayError) else ""
    return f"{error}{more}"
