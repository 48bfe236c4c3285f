"""Where the course of a training is logged: CSV and TensorBoard, and a tracker if asked for."""

import os
from pathlib import Path

from lightning.pytorch.loggers import (
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)

from seg.errors import ConfigError
from seg.version import installed_with
from training.run.plan import Plan

STEPS_BETWEEN_WRITES = 20


def loggers(plan: Plan, folder: Path) -> list[Logger]:
    """The loggers of a run.

    Raises:
        ConfigError: the tracker's package is not installed, or the tracker does not answer.
    """
    chosen: list[Logger] = [
        CSVLogger(folder, name="logs", flush_logs_every_n_steps=STEPS_BETWEEN_WRITES),
        TensorBoardLogger(folder, name="tensorboard"),
    ]
    if plan.track is not None:
        try:
            tracker = {"mlflow": _mlflow, "wandb": _wandb}[plan.track](plan, folder)
            tracker.log_hyperparams(plan.model_dump(mode="json"))  # where they first connect
        except ImportError as error:
            raise ConfigError(
                f"logging to {plan.track} needs its package; {installed_with('track')}"
            ) from error
        except Exception as error:  # each tracker raises a dozen types of its own
            first = str(error).splitlines()[0]
            raise ConfigError(
                f"{plan.track} does not take the run: {first}; see to it, or train without --track"
            ) from error
        chosen.append(tracker)
    return chosen


def _mlflow(plan: Plan, folder: Path) -> Logger:
    """At MLFLOW_TRACKING_URI, else as files in the run's folder."""
    if "MLFLOW_TRACKING_URI" not in os.environ:
        # MLflow would have a database here, for which its small package has no driver
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    return MLFlowLogger(
        experiment_name=plan.dataset,
        run_name=folder.name,
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI"),
        save_dir=str(folder / "mlruns"),
    )


def _wandb(plan: Plan, folder: Path) -> Logger:
    """As WANDB_MODE, WANDB_PROJECT and ``wandb login`` say; its files lie in the run's folder."""
    return WandbLogger(
        project=os.environ.get("WANDB_PROJECT", plan.dataset), name=folder.name, save_dir=folder
    )
