"""A queue in this process, without the threads that work it off."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.jobs.held import HeldJob
from service.jobs.records import NewJob
from service.jobs.routes import Jobs
from service.models.registry import ModelRegistry
from service.observability.metrics import Metrics
from service.settings import Settings


@dataclass(frozen=True)
class Queue:
    """Jobs of one model, which is ready."""

    models: ModelRegistry
    jobs: Jobs

    @property
    def label(self) -> str:
        """Of the model."""
        return self.models.choose().label

    def enqueued(self, image: bytes | None = None) -> str:
        """A job; its image is gone where none is given."""
        new = NewJob(owner="", model=self.label, order={"formats": ["png"]})
        job = self.jobs.store.reserve(new, most=1, upload_s=60)
        if image is not None:
            self.jobs.files.put(job, "image-0-0", io.BytesIO(image))
        self.jobs.store.enqueue(job, [["image-0-0"]], "hash", keep_s=60)
        return job

    def claimed(self) -> HeldJob:
        """The next job, as a worker holds it."""
        return HeldJob(self.jobs.store.claim([self.label], "one", lease_s=60, keep_s=60), "one")


@contextmanager
def queue_of(package: Path, folder: Path) -> Iterator[Queue]:
    """The queue of a package, with its files in a folder."""
    settings = Settings(package=package, jobs_files=str(folder), provider="cpu")
    models = ModelRegistry(settings, Metrics())
    models.start()
    models.wait()
    jobs = Jobs.of(models)
    yield Queue(models, jobs)
    models.close()
    jobs.store.close()
