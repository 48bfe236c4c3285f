"""What a run's folder says of its training."""

from seg.errors import ConfigError
from training.dataset import Dataset, load_dataset
from training.fingerprint import Fingerprint
from training.folds import fold_of
from training.machine import find_device
from training.package import Job
from training.plan_file import read_plan
from training.run_folder import RunFolder
from training.world import ALONE, World


def job_in(run: RunFolder, command: str, world: World = ALONE) -> tuple[Job, Dataset]:
    """The job that a run has begun, and the dataset that a fold's is a part of.

    Raises:
        ConfigError: the folder holds no run.
        DatasetError: its data are gone.
    """
    if not run.plan.is_file() or not run.fingerprint.is_file():
        raise ConfigError(
            f"{run.path} holds no run that has begun to train (no plan.yaml); start it anew"
        )
    plan = read_plan(run.plan)
    fingerprint = Fingerprint.model_validate_json(run.fingerprint.read_text(encoding="utf-8"))
    whole = load_dataset(plan.data)
    dataset = whole if plan.fold is None else fold_of(whole, plan.folds, plan.fold)
    return Job(plan, fingerprint, dataset, find_device(world), command), whole
