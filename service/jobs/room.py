"""How much of the disk jobs may have: all together, and those of each key."""

import shutil
from dataclasses import dataclass
from typing import Self

from service.jobs.files import JobFiles
from service.jobs.refused import NoRoomError
from service.jobs.store import JobStore
from service.problems.response import Problem
from service.settings import Settings

SHARE = 2
"""Of the disk jobs may have one part in so many, and of that again one key."""
RETRY = {"Retry-After": "60"}


@dataclass(frozen=True, slots=True)
class JobRoom:
    """Bytes of images and answers, from when a job is taken in until it is deleted."""

    of_all: int
    of_key: int

    @classmethod
    def of(cls, settings: Settings, files: JobFiles) -> Self:
        """As the settings say, or the disk; an object store has room for the longest queue."""
        if settings.max_jobs_mb is not None:
            of_all = int(settings.max_jobs_mb * 1e6)
        elif files.folder is not None:
            of_all = shutil.disk_usage(files.folder).total // SHARE
        else:
            of_all = settings.max_jobs * settings.max_job_bytes
        most = settings.max_client_jobs_mb
        return cls(of_all, of_all // SHARE if most is None else int(most * 1e6))

    def take(self, store: JobStore, job: str, size: int, *, more: bool = False) -> None:
        """Note how many bytes a job has.

        Args:
            store: of the job.
            job: its id.
            size: bytes of all its files.
            more: those come on top of what it has.

        Raises:
            Problem: 429, the jobs of its key have as many as they may; 507, all have.
        """
        try:
            store.hold(job, size, self.of_all, self.of_key, more=more)
        except NoRoomError as error:
            if error.of_key:
                raise Problem(
                    429,
                    f"images and answers of your jobs may take {_megabytes(self.of_key)} together; "
                    "delete jobs that are done (DELETE /jobs/ID), or wait until they expire",
                    RETRY,
                ) from None
            raise Problem(
                507,
                f"images and answers of jobs may take {_megabytes(self.of_all)} here, which others "
                "have; try again later, or raise SEG_MAX_JOBS_MB",
                RETRY,
            ) from None


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size:,} bytes"
