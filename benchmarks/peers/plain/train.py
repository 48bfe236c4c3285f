"""A network of another library in a plain Lightning loop, for given minutes, and its masks.

Usage: python benchmarks/peers/plain/train.py {smp,segresnet} DATASET OUT --minutes M [--seed N]

smp is segmentation-models-pytorch's Unet on a resnet34 without pretrained weights (2D), segresnet
MONAI's SegResNet with its defaults. The loop is what one writes in an hour with their parts: images
z-scored, random patches with flips, MONAI's Dice with cross-entropy, AdamW whose rate comes down to
0 when the time is up, whole images by MONAI's sliding window with Gaussian weights.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from math import prod
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import segmentation_models_pytorch as smp
import torch
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.networks.nets import SegResNet
from torch.utils.data import DataLoader, IterableDataset

sys.path.insert(0, str(Path(__file__).parents[3]))

from seg.images import Image, Mask, write_mask
from training.dataset import Case, Dataset, load_dataset
from training.evaluation.evaluator import PREDICTION_FORMATS, prediction_file

RATE = 1e-3
POWER = 0.9
PATCH = {2: (192, 192), 3: (8, 128, 128)}
BATCH_SIZE = {2: 4, 3: 2}
NETWORKS = ("smp", "segresnet")


def network_of(name: str, dims: int, channels: int, classes: int) -> torch.nn.Module:
    if name == "segresnet":
        return SegResNet(spatial_dims=dims, in_channels=channels, out_channels=classes)
    if dims == 3:
        raise SystemExit("segmentation-models-pytorch has no networks for volumes")
    return smp.Unet("resnet34", encoder_weights=None, in_channels=channels, classes=classes)


def z_scored(array: np.ndarray) -> np.ndarray:
    axes = tuple(range(1, array.ndim))
    mean, deviation = (f(array, axis=axes, keepdims=True) for f in (np.mean, np.std))
    return ((array - mean) / np.maximum(deviation, 1e-6)).astype(np.float32)


def widened(image: Image, mask: Mask, patch: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    sizes = mask.array.shape
    pads = [(0, max(0, p - n)) for p, n in zip(patch, sizes, strict=True)]
    return np.pad(z_scored(image.array), [(0, 0), *pads]), np.pad(mask.array, pads)


class Patches(IterableDataset):
    """Endless random patches with flips."""

    def __init__(self, dataset: Dataset, patch: tuple[int, ...], seed: int) -> None:
        self.cases = [widened(*pair, patch) for pair in map(dataset.read, dataset.train)]
        self.patch, self.rng = patch, np.random.default_rng(seed)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        while True:
            image, labels = self.cases[self.rng.integers(len(self.cases))]
            starts = [
                self.rng.integers(n - p + 1) for n, p in zip(labels.shape, self.patch, strict=True)
            ]
            at = tuple(slice(s, s + p) for s, p in zip(starts, self.patch, strict=True))
            axes = [axis for axis in range(labels.ndim) if self.rng.random() < 0.5]
            x = np.flip(image[:, *at], [axis + 1 for axis in axes])
            y = np.flip(labels[at], axes)[None].astype(np.int64)
            yield x.copy(), y.copy()


class Plain(pl.LightningModule):
    """The loop."""

    def __init__(self, network: torch.nn.Module, end: float, minutes: float) -> None:
        super().__init__()
        self.network, self.end, self.seconds = network, end, 60 * minutes
        self.loss = DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        """Loss of a batch, at the rate that the time says."""
        left = self.end - time.time()
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = RATE * max(0.0, min(1.0, left / self.seconds)) ** POWER
        self.trainer.should_stop = left <= 0
        images, labels = batch
        return self.loss(self.network(images), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Of all weights."""
        return torch.optim.AdamW(self.parameters(), RATE)


def predict(network: torch.nn.Module, dataset: Dataset, case: Case, out: Path) -> None:
    image, _ = dataset.read(case)
    with torch.inference_mode():
        logits = sliding_window_inference(
            torch.from_numpy(z_scored(image.array))[None], PATCH[image.dims],
            BATCH_SIZE[image.dims], network.eval(), overlap=0.5, mode="gaussian",
        )  # fmt: skip
    labels = logits[0].argmax(0).numpy().astype(np.uint8)
    mask = Mask(labels, spacing=image.spacing, affine=image.affine)
    write_mask(
        prediction_file(out, case.name, image.dims), mask, PREDICTION_FORMATS[image.dims],
        dataset.classes,
    )  # fmt: skip


def main() -> None:
    start = time.time()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path, help="folder for the masks of the test images")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pl.seed_everything(options.seed, verbose=False)
    dataset = load_dataset(options.dataset)
    dims = dataset.dims
    network = network_of(options.network, dims, len(dataset.channels), len(dataset.classes))
    module = Plain(network, start + 60 * options.minutes, options.minutes)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader(Patches(dataset, PATCH[dims], options.seed), BATCH_SIZE[dims]))
    parameters = sum(prod(p.shape) for p in network.parameters())
    print(f"{trainer.global_step} steps, {parameters} parameters, {time.time() - start:.0f} s")
    options.out.mkdir(parents=True, exist_ok=True)
    for case in dataset.test:
        predict(network, dataset, case, options.out)


if __name__ == "__main__":
    main()
