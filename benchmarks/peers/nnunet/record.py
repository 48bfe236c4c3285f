"""Writes the small results folders of tests/training/adopt, with what nnU-Net says of them.

Usage: PYTHON record.py FOLDER, with the Python of ``environment.py``.

Checkpoints are written by nnU-Net's own trainer, masks by its own predictor. The networks are tiny
and were trained for seconds on a rule that a person can see (bright, and very bright), so that
their masks have areas and edges like real ones.
"""

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from record_cases import CASES

STEPS = 200
EVERY = 3
"""Of the columns of logits, to keep the files small."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as work:
            for each in ("raw", "preprocessed", "results"):
                os.environ[f"nnUNet_{each}"] = str(Path(work) / each)
            os.environ.update(nnUNet_n_proc_DA="1", nnUNet_def_n_proc="1")
            record(name, case, options.folder / name)


def record(name: str, case: dict[str, Any], target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    (target / "results").mkdir(parents=True)
    channels = len(case["dataset"]["channel_names"])
    dataset = case["dataset"] | {"file_ending": case["ending"], "numTraining": 1}
    for file, content in (("plans.json", case["plans"]), ("dataset.json", dataset)):
        text = json.dumps(content, indent=1) + "\n"
        (target / "results" / file).write_text(text, encoding="utf-8")
    rng = np.random.default_rng(len(name))
    files = write_image(draw(rng, channels, case["shape"], case["ending"]), case, target)
    for fold in case["folds"]:
        train(case, dataset, files, fold, target / "results" / f"fold_{fold}")
    arrays = {
        f"mask_{'mirrored' if mirror else 'plain'}": predicted(target, files, case["folds"], mirror)
        for mirror in (False, True)
    }
    arrays |= logits_of_a_patch(target, case["folds"], rng, channels)
    if name == "thick":
        arrays["mask_postprocessed"] = postprocessed(target, arrays["mask_plain"])
    np.savez_compressed(target / "nnunet.npz", **arrays)
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    print(name, size // 1024, "kB", {k: v.shape for k, v in arrays.items()},
          np.bincount(arrays["mask_plain"].ravel()))  # fmt: skip


def draw(rng: np.random.Generator, channels: int, shape: tuple, ending: str) -> np.ndarray:
    """Soft blobs and some noise; volumes lie amid zeros."""
    from scipy.ndimage import gaussian_filter

    sigma = [max(0.8, n / 12) for n in shape]
    blobs = gaussian_filter(rng.normal(size=shape), sigma)
    blobs = (blobs - blobs.min()) / np.ptp(blobs)
    image = np.stack(
        [np.clip(250 * blobs + rng.normal(0, 9, shape), 1, 255) for _ in range(channels)]
    )
    if ending != ".png":
        inside = np.zeros(shape, bool)
        inside[tuple(slice(n // 9, n - n // 7) for n in shape)] = True
        image[:, ~inside] = 0
    return np.rint(image).astype(np.uint8)


def write_image(image: np.ndarray, case: dict[str, Any], target: Path) -> list[str]:
    if case["ending"] == ".png":
        from skimage import io

        file = target / "case_0000.png"
        io.imsave(file, np.moveaxis(image, 0, -1), check_contrast=False)
        return [str(file)]
    import SimpleITK

    files = []
    for number, channel in enumerate(image):
        volume = SimpleITK.GetImageFromArray(channel.astype(np.int16))
        volume.SetSpacing(case["spacing"][::-1])
        files.append(str(target / f"case_{number:04d}.nii.gz"))
        SimpleITK.WriteImage(volume, files[-1], True)
    return files


def train(case: dict[str, Any], dataset: dict, files: list[str], fold: Any, target: Path) -> None:
    import torch
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    torch.manual_seed(7 + (fold if isinstance(fold, int) else 0))
    copied = json.loads(json.dumps(case["plans"])) | {"continue_training": False}
    trainer = nnUNetTrainer(copied, case["configuration"], fold, dataset, torch.device("cpu"))
    plan, labels = trainer.configuration_manager, trainer.label_manager
    data, _, _ = DefaultPreprocessor(verbose=False).run_case(
        files, None, trainer.plans_manager, plan, dataset
    )
    heads = labels.num_segmentation_heads
    trainer.network = trainer.build_network_architecture(
        trainer.plans_manager, plan, len(data), heads, enable_deep_supervision=False
    )
    trainer.optimizer, _ = trainer.configure_optimizers()
    fit(trainer.network, np.asarray(data), plan.patch_size, labels.has_regions, heads)
    trainer.inference_allowed_mirroring_axes = case["mirror"]
    trainer._best_ema = np.float64(0.5)
    trainer.logger.log("train_losses", np.float32(0.1), 0)
    target.mkdir()
    trainer.save_checkpoint(str(target / "checkpoint_final.pth"))


def fit(net: Any, data: np.ndarray, patch: list[int], regions: bool, heads: int) -> None:
    import torch
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(data.mean(0), 1.0)
    limits = np.quantile(smooth[smooth > smooth.min()], (0.45, 0.8))
    rng = np.random.default_rng(0)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    flat = len(patch) < 3
    for _ in range(STEPS):
        images, targets = [], []
        for _ in range(2):
            window = [
                rng.integers(max(1, n - p + 1))
                for n, p in zip(smooth.shape[flat:], patch, strict=True)
            ]
            at = tuple(slice(s, s + p) for s, p in zip(window, patch, strict=True))
            at = (rng.integers(smooth.shape[0]), *at) if flat else at
            piece, cut = data[(slice(None), *at)], smooth[at]
            wide = [(0, p - n) for n, p in zip(cut.shape, patch, strict=True)]
            images.append(np.pad(piece, [(0, 0), *wide]))
            targets.append(np.pad(np.digitize(cut, limits), wide))
        x, y = torch.from_numpy(np.stack(images)).float(), torch.from_numpy(np.stack(targets))
        logits = net(x)
        if regions:
            wanted = torch.stack([y >= k + 1 for k in range(heads)], 1).float()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)
        else:
            loss = torch.nn.functional.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def predictor_of(target: Path, folds: list, mirror: bool) -> Any:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(use_mirroring=mirror, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(target / "results"), folds)
    return predictor


def predicted(target: Path, files: list[str], folds: list, mirror: bool) -> np.ndarray:
    predictor = predictor_of(target, folds, mirror)
    reader = predictor.plans_manager.image_reader_writer_class()
    image, about = reader.read_images(files)
    mask = predictor.predict_single_npy_array(image, about)
    return np.asarray(mask).astype(np.uint8)


def logits_of_a_patch(
    target: Path, folds: list, rng: np.random.Generator, channels: int
) -> dict[str, np.ndarray]:
    import torch

    predictor = predictor_of(target, folds, mirror=False)
    size = predictor.configuration_manager.patch_size
    patch = rng.normal(size=(1, channels, *size)).astype(np.float32)
    said = []
    for weights in predictor.list_of_parameters:
        predictor.network.load_state_dict(weights)
        with torch.inference_mode():
            said.append(predictor.network.eval()(torch.from_numpy(patch)).numpy()[0])
    return {"patch": patch[0], "logits": np.stack(said)[..., ::EVERY]}


def postprocessed(target: Path, mask: np.ndarray) -> np.ndarray:
    """The steps that nnU-Net would have written, and what they make of the mask."""
    from nnunetv2.postprocessing.remove_connected_components import (
        apply_postprocessing,
        remove_all_but_largest_component_from_segmentation,
    )

    steps = [{"labels_or_regions": [1, 2]}, {"labels_or_regions": 2}]
    folder = target / "results" / "crossval_results_folds_0_1"
    folder.mkdir()
    content = {
        "postprocessing_fns": [remove_all_but_largest_component_from_segmentation.__name__] * 2,
        "postprocessing_kwargs": steps,
    }
    text = json.dumps(content, indent=1) + "\n"
    (folder / "postprocessing.json").write_text(text, encoding="utf-8")
    return apply_postprocessing(
        mask, [remove_all_but_largest_component_from_segmentation] * 2, steps
    )


if __name__ == "__main__":
    main()
