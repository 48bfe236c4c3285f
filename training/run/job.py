"""What a run's folder says of its training."""

import logging
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from seg.errors import ConfigError, DatasetError
from training.dataset import Dataset, load_dataset
from training.dataset.fingerprint import Fingerprint
from training.dataset.folds import fold_of
from training.run.data_record import as_recorded, read_record
from training.run.device import Device, find_device
from training.run.folder import RunFolder
from training.run.plan import Plan
from training.run.plan_yaml import read_plan
from training.run.processes import ALONE, World

log = logging.getLogger("training")


@dataclass(frozen=True)
class TrainingJob:
    """What is trained, on what, where, and by which command."""

    plan: Plan
    fingerprint: Fingerprint
    dataset: Dataset
    device: Device
    command: str
    steps: int | None = None
    """That were reached, once it has trained."""

    @property
    def planned_steps(self) -> int | None:
        """As many as were asked for, or as its minutes were thought to be enough for."""
        return self.plan.steps or self.plan.expected_steps

    @property
    def steps_in_words(self) -> str:
        """How many were reached of those that were planned."""
        planned = self.planned_steps
        return f"{self.steps} of {planned} planned steps" if planned else f"{self.steps} steps"


def job_in(run: RunFolder, command: str, world: World = ALONE) -> tuple[TrainingJob, Dataset]:
    """The job that a run has begun, and the dataset that a fold's is a part of.

    Raises:
        ConfigError: the folder holds no run, or a file of it is damaged.
        DatasetError: its data are gone.
    """
    run.check_begun()
    plan = read_plan(run.plan)
    fingerprint = _read_fingerprint(run.fingerprint)
    whole = dataset_of(run, plan)
    dataset = whole if plan.fold is None else fold_of(whole, plan.folds, plan.fold)
    return TrainingJob(plan, fingerprint, dataset, find_device(world), command), whole


def _read_fingerprint(path: Path) -> Fingerprint:
    try:
        return Fingerprint.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigError(
            f"{path} is no fingerprint of a run's data; begin the run anew"
        ) from error


def dataset_of(run: RunFolder, plan: Plan, *, are_files_read: bool = True) -> Dataset:
    """The data of a run as they were when it began.

    Args:
        run: that has begun.
        plan: of it.
        are_files_read: compare the contents of files too; of several processes one does.

    Raises:
        DatasetError: they are gone, or others.
    """
    if not Path(plan.data).exists():
        raise DatasetError(
            f"{plan.data} is no longer there; write where the data are now into {run.plan}, as data"
        )
    dataset = load_dataset(plan.data)
    if not run.data.is_file():  # begun before this was written down
        log.warning(
            "data      nobody noted what they were when the run began; they are not checked"
        )
        return dataset
    dataset, new = as_recorded(dataset, read_record(run.data), are_files_read=are_files_read)
    if new:
        log.info("data      new since the run began, and left out: %s", ", ".join(new[:9]))
    return dataset
