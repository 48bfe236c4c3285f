"""Whether the GPU path does what it promises, each point in seconds: for the first hour of a card.

Rows: memory that the planner measures against what a step really takes; the device of the moving
average; what TF32 and float16 change against float32 on the CPU; patches a second in batches of 1
to 8, with the cost of each size's first run; bytes that travel for a voxel, as the
backend counts them too; patches that the device augments beside the host's, in 2D and 3D. Then
(``gpu_more_checks.py``): what `auto` takes; whether a step waits for the card; what the answer for
a patch owes to its batch; batches without room; memory of idle networks; every card in sight;
locked pages; a step that is too large; a whole search for a plan; compiled steps. A row that fails
says why, and the next goes on. `--device cpu --small` shows on any machine that the program runs.

Usage: python benchmarks/gpu_checks.py [--device cuda] [--small] [--json FILE]
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, RandGaussianNoise

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.gpu import in_a_line
from benchmarks.gpu_more_checks import CHECKS, CLASSES
from benchmarks.result import bar, show, write
from seg.images import ClassInfo
from seg.inference import OnnxBackend
from seg.networks import ResidualUNet, preset
from seg.transforms import Normalisation
from training.dataset import Legend
from training.learning.watch import MovingAverage
from training.onnx_files.write import write_onnx
from training.planning.step_cost import measured_step
from training.run.device import find_device
from training.run.memory import peak_of
from training.run.plan import Plan
from training.samples.augmentation import Augmentation
from training.samples.on_device import finished
from training.variants.half import to_float16

LIBRARIES = ("torch", "lightning", "onnxruntime-gpu", "numpy")
MOST_OFF = 1e-3
"""Probability by which float32 on a card may differ from float32 on a CPU."""
TRUE_ON_A_CARD = (
    ("auto", "is_card"), ("host memory", "pages_locked"), ("too large", "is_told"),
)  # fmt: skip
Row = dict[str, Any]


class Bench:
    """What all checks look at."""

    def __init__(self, device: str, small: bool, folder: Path) -> None:
        self.device = device
        self.patch = (32, 32) if small else (256, 256)
        config = preset(
            "resunet-xs" if small else "resunet-m",
            spatial_dims=2, in_channels=1, num_classes=CLASSES,
        )  # fmt: skip
        if small:
            parts = ("features", "blocks", "strides", "kernel_sizes")
            config = replace(config, **{name: getattr(config, name)[:3] for name in parts})
        torch.manual_seed(0)
        self.network = ResidualUNet(config).eval()
        noise = np.random.default_rng(0).normal(size=(8, 1, *self.patch))
        self.patches = noise.astype(np.float32)
        self.file = folder / "network.onnx"
        write_onnx(self.network, self.patches[:2], self.file, exact_norms=False)
        self.half = folder / "half.onnx"
        import onnx

        onnx.save(to_float16(onnx.load(self.file)), self.half)
        with torch.inference_mode():
            logits = self.network(torch.from_numpy(self.patches[:2]))
        self.truth = logits.softmax(1).numpy()
        self.plan = Plan(
            dataset="check", data="check", minutes=1, spacing=None, margin=(0, 0),
            network=config_name(small),
            normalisation=[Normalisation(kind="zscore")], strides=list(config.strides),
            kernel_sizes=list(config.kernel_sizes), patch=self.patch, batch_size=4,
        )  # fmt: skip
        self.legend = Legend(
            tuple(ClassInfo(index=i, name=str(i), color=(i, i, i)) for i in range(CLASSES))
        )


def config_name(small: bool) -> str:
    return "resunet-xs" if small else "resunet-m"


def memory(bench: Bench) -> Iterator[Row]:
    """The planner's figure, measured twice: the second must not be less because of the first."""
    device = find_device()
    figures = []
    for _ in range(2):
        with peak_of(bench.device) as peak:
            step = measured_step(bench.plan, bench.legend, device, "float32", 60)
            # what torch took of the card, gaps included
            reserved = torch.cuda.max_memory_reserved() if bench.device == "cuda" else 0
        figures.append((step.bytes, reserved or peak.bytes - peak.before))
    (first, real), (second, _) = figures
    yield {"what": "memory of a step", "first_mib": first / 2**20, "second_mib": second / 2**20,
           "real_mib": real / 2**20, "second_over_first": second / max(1, first)}  # fmt: skip


def average(bench: Bench) -> Iterator[Row]:
    """Where Lightning leaves the moving average, and what a step of it takes."""
    from types import SimpleNamespace

    root = torch.device(bench.device, 0) if bench.device == "cuda" else torch.device("cpu")
    average = MovingAverage(0.99)
    network = bench.network.to(root)
    average.on_fit_start(SimpleNamespace(strategy=SimpleNamespace(root_device=root)), network)
    model = average._average_model
    model.update_parameters(network)
    seconds = timed(lambda: model.update_parameters(network), bench.device, 5)
    kinds = {tensor.device.type for tensor in model.module.parameters()}
    yield {"what": "moving average", "device": "+".join(sorted(kinds)), "ms": 1000 * seconds}
    bench.network.to("cpu")


def precision(bench: Bench) -> Iterator[Row]:
    """Largest difference of a probability against float32 on the CPU."""
    for name, file, tf32 in (
        ("float32", bench.file, False), ("tf32", bench.file, True), ("float16", bench.half, False)
    ):  # fmt: skip
        logits = OnnxBackend(file, provider=bench.device, tf32=tf32).run(bench.patches[:2])
        found = torch.from_numpy(logits).softmax(1).numpy()
        yield {"what": "precision", "way": name, "error": float(np.abs(found - bench.truth).max())}


def batches(bench: Bench) -> Iterator[Row]:
    """Throughput of the backend that serves, and the first run of each size."""
    backend = OnnxBackend(bench.file, provider=bench.device, batch_size=8)
    for size in (1, 2, 4, 8):
        patches = bench.patches[:size]
        first = timed(lambda patches=patches: backend.run(patches), bench.device, 1)
        seconds = timed(lambda patches=patches: backend.run(patches), bench.device, 5)
        yield {"what": "batch", "size": size, "first_run_s": first,
               "patches_a_second": size / seconds, "provider": backend.provider}  # fmt: skip


def copies(bench: Bench) -> Iterator[Row]:
    """Bytes that cross the bus for a voxel of a patch, and how long that takes by itself."""
    logits = np.empty((8, CLASSES, *bench.patch), np.float32)

    def there_and_back() -> None:
        torch.from_numpy(bench.patches).to(bench.device)
        torch.from_numpy(logits).to(bench.device).cpu()

    seconds = timed(there_and_back, bench.device, 5)
    yield {"what": "copies", "bytes_a_voxel": 4 + 4 * CLASSES, "ms_of_8_patches": 1000 * seconds}


def bytes_back(bench: Bench) -> Iterator[Row]:
    """What the backend that serves brings to the host for a voxel, and how long a batch takes.

    As logits, and as labels, their probability and the entropy, which are taken where it runs.
    """
    backend = OnnxBackend(bench.file, provider=bench.device, batch_size=8)
    inside = np.ones((len(bench.patches), 1, *bench.patch), np.uint8)
    ways: dict[str, Callable[[], object]] = {
        "logits": lambda: backend.run(bench.patches),
        "labels": lambda: backend.decide(bench.patches, inside, 1.0),
    }
    for way, work in ways.items():
        work()
        before = backend.bytes_back
        work()
        back = (backend.bytes_back - before) / inside.size
        yield {"what": "bytes back", "way": way, "bytes_a_voxel": back,
               "ms": 1000 * timed(work, bench.device, 5), "provider": backend.provider}  # fmt: skip


def patches(bench: Bench) -> Iterator[Row]:
    """How far changes made on the device are from the host's, and what a patch takes on both."""
    small = bench.patch[0] < 64
    yield from patches_of("medical", (16, 16, 16) if small else (96, 96, 96), bench.device)
    yield from patches_of("robust", (24, 32) if small else (512, 512), bench.device)


def patches_of(preset: str, shape: tuple[int, ...], device: str) -> Iterator[Row]:
    augmentation = Augmentation(preset, shape)
    quiet = [each for each in augmentation.intensities.transforms
             if not isinstance(each, RandGaussianNoise)]  # fmt: skip
    augmentation.intensities = Compose(quiet)
    rng = np.random.default_rng(0)
    host_s = device_s = 0.0
    off = []
    for seed in range(10):
        region = augmentation.region(rng)
        image = rng.normal(size=(1, *region)).astype(np.float32)
        labels = (image > 1).astype(np.uint8)
        begun = time.perf_counter()
        expected, _ = augmentation(image, labels, np.random.default_rng(seed))
        host_s += time.perf_counter() - begun
        sample = augmentation.begin(image, labels, np.random.default_rng(seed))
        image, planes = (torch.from_numpy(np.ascontiguousarray(each)).to(device)
                         for each in sample[:2])  # fmt: skip
        there = [sample._replace(image=image, planes=planes)]
        device_s += timed(lambda there=there: finished(there, augmentation), device, 1)
        found = finished(there, augmentation)[0][0].cpu().numpy()
        off.append(float((np.abs(found - expected) > 1e-2).mean()))
    yield {"what": "patches", "dims": len(shape), "share_that_differs": max(off),
           "host_ms": 100 * host_s, "device_ms": 100 * device_s}  # fmt: skip


def timed(work: Callable[[], object], device: str, times: int) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(times):
        work()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / times


def bars_of(rows: list[Row], device: str) -> list[dict[str, Any]]:
    bars = [bar("checks that failed", sum("failed" in row for row in rows), 0, at_most=True)]
    for row in rows:
        if "second_over_first" in row and device == "cuda":
            bars.append(bar("second measurement of memory over the first",
                            row["second_over_first"], 0.9, at_most=False))  # fmt: skip
            bars.append(bar("memory that the planner says over what torch took",
                            row["first_mib"] / row["real_mib"], 0.9, at_most=False))  # fmt: skip
        if row["what"] == "moving average" and "device" in row:
            bars.append(bar("average on the device", row["device"] == device, 1, at_most=False))
        if row["what"] == "bytes back" and row.get("way") == "labels":
            bars.append(bar("bytes back for a voxel's label, probability and entropy",
                            row["bytes_a_voxel"], 5.1, at_most=True))  # fmt: skip
        if "share_that_differs" in row:
            bars.append(bar("share of voxels that the device augments otherwise than the host",
                            row["share_that_differs"], 0.005, at_most=True))  # fmt: skip
        if row.get("way") == "float32" and "error" in row:
            bars.append(bar("error of float32", row["error"], MOST_OFF, at_most=True))
        if row["what"] in ("card", "compiled answers") and "error" in row:
            bars.append(bar(f"error of {row['what']}", row["error"], MOST_OFF, at_most=True))
        for what, key in TRUE_ON_A_CARD:
            if row["what"] == what and key in row and device == "cuda":
                bars.append(bar(f"{what}: {key}", bool(row[key]), 1, at_most=False))
    return bars


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="a tiny network on tiny patches")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.device == "cpu":  # a card that is there stays out of it
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("these checks need a CUDA device, and torch finds none here; try --device cpu")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.device, options.small, Path(folder))
        for check in (average, precision, batches, copies, bytes_back, patches, memory, *CHECKS):
            try:
                for row in check(bench):
                    rows.append(row)
                    print("  ".join(f"{k} {v}" for k, v in row.items()), flush=True)
            except Exception as error:  # the next check may say more
                reason = in_a_line(error)
                rows.append({"what": check.__name__, "failed": reason})
                print(f"{check.__name__} failed: {reason}", flush=True)
            if options.json:
                write("gpu_checks", rows, bars_of(rows, options.device), LIBRARIES, options.json)
    bars = bars_of(rows, options.device)
    show(bars)
    sys.exit(not all(each["holds"] for each in bars))


if __name__ == "__main__":
    main()
