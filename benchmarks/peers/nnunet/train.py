"""nnU-Net on a dataset for given minutes, on a CPU; run it with the Python of ``environment.py``.

Usage: PYTHON train.py DATASET WORK --minutes M [--threads N] [--classic]

DATASET is a folder in nnU-Net's raw format. In WORK, nnU-Net's three folders are made; the last
line printed is the results folder. Fingerprint, plan, preprocessing, augmentation, loss, optimiser
and network are nnU-Net's own. What is changed, since its plan means days on a CPU:

- patch and batch of the plan are cut down (``CUT``), the topology then follows by its own rules;
- an epoch has 50 steps and one validation step, and the last epoch ends when the time is up;
- the learning rate comes down with the share of the time that is spent, not of 1000 epochs;
- all training cases train (fold ``all``), as nothing is chosen by validation.
"""

import argparse
import json
import os
import time
from pathlib import Path

CUT = {2: (256, 128 * 1024), 3: (128, 256 * 1024)}
"""By number of axes: the longest edge of a patch, and the voxels of a batch at most."""
BATCH_SIZE = 2
STEPS_AN_EPOCH = 50


def main() -> None:
    start = time.time()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, required=True, help="planning included")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--classic", action="store_true", help="the plain U-Net, not ResEnc M")
    options = parser.parse_args()
    set_environment(options.work, options.threads)
    name = linked(options.dataset, options.work)
    configuration, plans = planned(name, options.work, options.classic)
    ready = time.time()
    steps, results = train(
        name, configuration, plans, start + 60 * options.minutes, options.minutes, options.seed
    )
    about = {
        "steps": steps,
        "seconds": time.time() - start,
        "seconds_of_planning": ready - start,
        "configuration": configuration,
        "plan": {
            k: plans["configurations"][configuration][k] for k in ("patch_size", "batch_size")
        },
    }
    (results / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    print(results)


def set_environment(work: Path, threads: int) -> None:
    """nnU-Net and torch read these when they are imported."""
    for folder in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{folder}"] = str((work / folder).absolute())
        (work / folder).mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ.update(nnUNet_n_proc_DA="1", nnUNet_def_n_proc=str(threads))


def linked(dataset: Path, work: Path) -> str:
    name = f"Dataset001_{dataset.name}"
    link = work / "raw" / name
    if not link.exists():
        link.symlink_to(dataset.absolute(), target_is_directory=True)
    return name


def planned(name: str, work: Path, classic: bool) -> tuple[str, dict]:
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )

    extract_fingerprints([1], num_processes=1, check_dataset_integrity=False)
    planner = "ExperimentPlanner" if classic else "nnUNetPlannerResEncM"
    plans_name = plan_experiments([1], experiment_planner_class_name=planner)
    file = work / "preprocessed" / name / f"{plans_name}.json"
    plans = json.loads(file.read_text(encoding="utf-8"))
    configuration = "3d_fullres" if "3d_fullres" in plans["configurations"] else "2d"
    cut_down(plans["configurations"][configuration])
    file.write_text(json.dumps(plans, indent=2), encoding="utf-8")
    preprocess([1], plans_name, configurations=(configuration,), num_processes=(1,))
    return configuration, plans


def cut_down(plan: dict) -> None:
    """A smaller patch and batch; strides, kernels and stages by nnU-Net's own rules."""
    from nnunetv2.experiment_planning.experiment_planners.network_topology import (
        get_pool_and_conv_props,
    )

    longest, voxels = CUT[len(plan["patch_size"])]
    patch = [min(n, longest) for n in plan["patch_size"]]
    _, strides, kernels, patch, _ = get_pool_and_conv_props(plan["spacing"], patch, 4, 999999)
    assert BATCH_SIZE * int(patch[0]) * int(patch[1]) <= voxels
    plan["patch_size"] = [int(n) for n in patch]
    plan["batch_size"] = BATCH_SIZE
    network = plan["architecture"]["arch_kwargs"]
    stages = len(strides)
    network["n_stages"], network["strides"], network["kernel_sizes"] = stages, strides, kernels
    for key in ("features_per_stage", "n_blocks_per_stage", "n_conv_per_stage"):
        if key in network:
            network[key] = network[key][:stages]
    network["n_conv_per_stage_decoder"] = network["n_conv_per_stage_decoder"][: stages - 1]


def train(
    name: str, configuration: str, plans: dict, end: float, minutes: float, seed: int
) -> tuple[int, Path]:
    os.environ.update(nnUNet_n_proc_DA="0")  # augmentation in this process; planning needs a 1
    import numpy as np
    import torch
    from nnunetv2.paths import nnUNet_raw
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer as Trainer

    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # nnU-Net draws from it

    # The name is written into the checkpoint, and nnUNetv2_predict looks for a class of that name.
    class nnUNetTrainer(Trainer):  # noqa: N801
        """nnU-Net's trainer until the time is up."""

        steps = 0

        def run_training(self) -> None:
            self.on_train_start()
            while time.time() < end:
                self.on_epoch_start()
                self.network.train()
                self.on_train_epoch_end(self.some_steps())
                with torch.no_grad():
                    self.on_validation_epoch_start()
                    self.on_validation_epoch_end([self.validation_step(next(self.dataloader_val))])
                self.on_epoch_end()
            self.on_train_end()

        def some_steps(self) -> list[dict]:
            outputs = []
            while len(outputs) < STEPS_AN_EPOCH and (left := end - time.time()) > 0:
                rate = self.initial_lr * min(1.0, left / (60 * minutes)) ** 0.9
                for group in self.optimizer.param_groups:
                    group["lr"] = rate
                outputs.append(self.train_step(next(self.dataloader_train)))
            self.logger.log("lrs", rate, self.current_epoch)
            self.steps += len(outputs)
            return outputs

    dataset_json = json.loads(
        (Path(str(nnUNet_raw)) / name / "dataset.json").read_text(encoding="utf-8")
    )
    trainer = nnUNetTrainer(
        plans | {"continue_training": False},
        configuration,
        "all",
        dataset_json,
        torch.device("cpu"),
    )
    trainer.run_training()
    return trainer.steps, Path(trainer.output_folder_base)


if __name__ == "__main__":
    main()
