"""Writes what nnU-Net's planners say to many made-up datasets: PYTHON plan_grid.py FILE.json.

Run it with the Python of ``environment.py``. The planners are nnU-Net's own; only their networks
are built without weights, since they are asked for the sizes of feature maps alone.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

PLANNERS = {"resunet-m": "nnUNetPlannerResEncM", "resunet-l": "nnUNetPlannerResEncL"}
VOLUMES, PICTURES = 70, 50
SEED = 20


def main() -> None:
    rows = []
    rng = np.random.default_rng(SEED)
    datasets = [draw_volumes(rng) for _ in range(VOLUMES)] + [
        draw_pictures(rng) for _ in range(PICTURES)
    ]
    for number, dataset in enumerate(datasets):
        for network, planner in PLANNERS.items():
            with contextlib.redirect_stdout(io.StringIO()):
                plan = planned(dataset, planner)
            rows.append({"network": network, **dataset, "plan": plan})
        print(number + 1, "of", len(datasets), file=sys.stderr)
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    Path(sys.argv[1]).write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def draw_volumes(rng: np.random.Generator) -> dict[str, Any]:
    """Spacings from 0.3 to 8 mm, isotropic to thick slices along any axis, small to huge."""
    mm = float(rng.choice([0.3, 0.5, 0.8, 1.0, 1.5, 2.5]))
    anisotropy = float(rng.choice([1, 1, 1.3, 2, 2.5, 3.2, 5, 8]))
    axis = int(rng.choice([0, 0, 0, 1, 2]))
    spacing = np.full(3, mm)
    spacing[axis] *= anisotropy
    if rng.random() < 0.3:
        spacing[(axis + 1) % 3] *= rng.uniform(1, 1.3)
    extent = rng.uniform(40, 500) * rng.uniform(0.6, 1.4, 3)
    cases = int(rng.integers(4, 9))
    spacings = spacing * rng.choice([1, 1, 1, 0.8, 1.25], (cases, 3))
    shapes = np.clip(extent / spacings * rng.uniform(0.85, 1.15, (cases, 3)), 6, 900)
    return about(rng, spacings, shapes, 3)


def draw_pictures(rng: np.random.Generator) -> dict[str, Any]:
    """Pictures without a spacing, and slices with one."""
    cases = int(rng.integers(4, 9))
    size = rng.uniform(30, 1500) * rng.uniform(0.4, 1.6, 2)
    shapes = np.clip(size * rng.uniform(0.9, 1.1, (cases, 2)), 20, 4000)
    spacings = np.ones((cases, 2))
    if rng.random() < 0.4:
        spacings *= rng.choice([0.2, 0.7, 1.2], (1, 2)) * rng.uniform(0.9, 1.1, (cases, 1))
    return about(rng, spacings, shapes, 2)


def about(
    rng: np.random.Generator, spacings: np.ndarray, shapes: np.ndarray, dims: int
) -> dict[str, Any]:
    return {
        "dims": dims,
        "channels": [str(rng.choice(["CT", "MRI"])) for _ in range(int(rng.integers(1, 5)))],
        "classes": int(rng.integers(2, 15)),
        "spacings": [[round(float(n), 4) for n in row] for row in spacings],
        "shapes": [[round(n) for n in row] for row in shapes],
    }


def planned(dataset: dict[str, Any], planner_name: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as work:
        for each in ("raw", "preprocessed", "results"):
            os.environ[f"nnUNet_{each}"] = work + "/" + each
        write(dataset, Path(work))
        import torch
        from nnunetv2.experiment_planning.experiment_planners.residual_unets import (
            residual_encoder_unet_planners,
        )

        planner = getattr(residual_encoder_unet_planners, planner_name)(1)
        planner.lowres_creation_threshold = 0
        with torch.device("meta"):
            plans = planner.plan_experiment()
    flat = dataset["dims"] == 2
    plan = plans["configurations"]["2d" if flat else "3d_fullres"]
    back = [0, 1] if flat else [int(n) for n in plans["transpose_backward"]]
    network = plan["architecture"]["arch_kwargs"]

    def turned(axes: Any, kind: type = int) -> list[Any]:
        return [kind(axes[axis]) for axis in back]

    return {
        "spacing": turned(plan["spacing"], float),
        "patch": turned(plan["patch_size"]),
        "strides": [turned(axes) for axes in network["strides"]],
        "kernels": [turned(axes) for axes in network["kernel_sizes"]],
        "features": [int(n) for n in network["features_per_stage"]],
        "blocks": [int(n) for n in network["n_blocks_per_stage"]],
        "batch_size": int(plan["batch_size"]),
        "normalisation": list(plan["normalization_schemes"]),
    }


def write(dataset: dict[str, Any], work: Path) -> None:
    """A dataset without images, and its fingerprint."""
    flat = dataset["dims"] == 2
    raw, preprocessed = (work / each / "Dataset001_grid" for each in ("raw", "preprocessed"))
    (raw / "imagesTr").mkdir(parents=True)
    (raw / "labelsTr").mkdir()
    preprocessed.mkdir(parents=True)
    (work / "results").mkdir()
    cases = len(dataset["shapes"])
    description = {
        "channel_names": {str(i): name for i, name in enumerate(dataset["channels"])},
        "labels": {"background": 0, **{f"c{i}": i for i in range(1, dataset["classes"])}},
        "numTraining": cases,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",
        "dataset": {"case": {"images": ["none.nii.gz"], "label": "none.nii.gz"}},
    }
    one = [999.0] if flat else []
    fingerprint = {
        "spacings": [one + row for row in dataset["spacings"]],
        "shapes_after_crop": [([1] if flat else []) + row for row in dataset["shapes"]],
        "foreground_intensity_properties_per_channel": {},
        "median_relative_size_after_cropping": 1.0,
    }
    for file, content in (
        (raw / "dataset.json", description),
        (preprocessed / "dataset_fingerprint.json", fingerprint),
    ):
        file.write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    main()
