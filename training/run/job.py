"""What a run's folder says of its training."""

from dataclasses import dataclass

from training.dataset import Dataset, load_dataset
from training.dataset.fingerprint import Fingerprint
from training.dataset.folds import fold_of
from training.run.device import Device, find_device
from training.run.folder import RunFolder
from training.run.plan import Plan
from training.run.plan_yaml import read_plan
from training.run.processes import ALONE, World


@dataclass(frozen=True)
class TrainingJob:
    """What is trained, on what, where, and by which command."""

    plan: Plan
    fingerprint: Fingerprint
    dataset: Dataset
    device: Device
    command: str


def job_in(run: RunFolder, command: str, world: World = ALONE) -> tuple[TrainingJob, Dataset]:
    """The job that a run has begun, and the dataset that a fold's is a part of.

    Raises:
        ConfigError: the folder holds no run.
        DatasetError: its data are gone.
    """
    run.check_begun()
    plan = read_plan(run.plan)
    fingerprint = Fingerprint.model_validate_json(run.fingerprint.read_text(encoding="utf-8"))
    whole = load_dataset(plan.data)
    dataset = whole if plan.fold is None else fold_of(whole, plan.folds, plan.fold)
    return TrainingJob(plan, fingerprint, dataset, find_device(world), command), whole
