"""Write the package of a run again."""

import shutil
from dataclasses import replace
from pathlib import Path

from seg.errors import ConfigError
from seg.files import written_whole
from seg.inference import Predictor
from seg.model_package import ModelPackage
from training.evaluation.score_files import summary_table
from training.evaluation.scores import Evaluation
from training.interchange.bioimageio.leave import leave_for_bioimageio
from training.interchange.huggingface.leave import leave_for_huggingface
from training.interchange.monai.leave import export_bundle, leave_for_monai
from training.interchange.nnunet.leave import leave_for_nnunet
from training.interchange.torch_program import leave_for_torch
from training.learning.checkpoint import trained_in
from training.packaging.own_test import evaluate_test
from training.packaging.package import Finished, write_package
from training.pipeline.cross_validation import package_folds
from training.pipeline.picturing import picture_cases
from training.run.folder import RunFolder
from training.run.job import TrainingJob, job_in


def export_package(run: RunFolder, job: TrainingJob, target: Path) -> Finished:
    """Write the run's network, or those of its folds, as a proven and scored package.

    Raises:
        ConfigError: the run has no checkpoint, or the target is the run's own folder.
        BackendError: the exported network disagrees with the trained one.
    """
    if job.plan.folds > 1 and job.plan.fold is None:
        folds = [run.fold(number) for number in range(job.plan.folds)]
        return package_folds(job, run, folds, target)[0]
    trained = trained_in(run, job.plan, job.dataset.legend)
    job = replace(job, steps=trained.steps)

    def assess(predictor: Predictor) -> Evaluation:
        return evaluate_test(predictor, job)

    return write_package(trained.network, job, target, assess)


def export_run(
    run: RunFolder, to: str, target: Path, command: str, *, show_cases: bool = False
) -> list[str]:
    """Write what a run has learnt as a package, or for other software, and say what was proven.

    With ``show_cases`` the package shows test cases in pictures.

    Raises:
        ConfigError: the run has not come far enough, or the target cannot be.
        BackendError: the exported network disagrees with the trained one.
    """
    if to in ("nnunet", "torch", "bioimageio", "huggingface"):
        if not run.package.is_dir():
            raise ConfigError(
                f"{run.path} has no package yet; export one first, then export it with --to {to}"
            )
        return leave_package(ModelPackage.load(run.package), to, target)
    job, _ = job_in(run, command)
    if to == "monai":
        export_bundle(run, job, target)
        return []
    finished = export_package(run, job, target)
    if show_cases:
        picture_cases(finished.package, job.dataset, finished.evaluation)
    reached = replace(job, steps=finished.package.card.provenance.steps)
    steps = [f"trained {reached.steps_in_words}"] if reached.steps else []
    proof = f"ONNX and network agree to {finished.error:.1e}"
    return [summary_table(finished.evaluation), *steps, proof]


def copy_package(package: ModelPackage, target: Path) -> list[str]:
    """Write a package once more, so that something can be added to it."""
    with written_whole(target) as folder:
        shutil.copytree(package.path, folder, dirs_exist_ok=True)
    return []


def leave_package(package: ModelPackage, to: str, target: Path) -> list[str]:
    """Write a package for other software, and say what that one must know.

    Raises:
        ConfigError: it is for none.
    """
    if to == "package":
        raise ConfigError(f"{package.path} is a package already; say with --to for what software")
    if to == "nnunet":
        return leave_for_nnunet(package, target)
    if to == "bioimageio":
        return leave_for_bioimageio(package, target)
    if to == "huggingface":
        return leave_for_huggingface(package, target)
    (leave_for_monai if to == "monai" else leave_for_torch)(package, target)
    return []
