"""Patches a second that processes make for a card, by preset, in 2D and 3D; needs no card.

Usage: python benchmarks/patches.py [--dims 2 3] [--seconds 3] [--json FILE]

A volume and an image of noise in memory stand for cases that the system has cached. Counted is the
CPU time of one thread for a patch, so that other programs disturb little: all of it on the host,
what the host keeps where the device moves patches and changes intensities, and what the process
that trains takes to tell the device so (by the clock: the least of three). Rates of 8 and 16
processes are computed from it, each with a core of its own: cores that share caches and memory
make less. Beside them what a network takes at 40 % (3D) and 35 % (2D) of an H200's 989 TFLOP/s,
from its counted operations.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# this folder has a file of the name of a room
sys.path[0] = str(Path(__file__).parents[1])

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from benchmarks.gpu import NOMINAL_TFLOPS, PEAK_SHARES, Setting, network_of  # noqa: E402
from benchmarks.result import report  # noqa: E402
from training.planning.patch_cost import seconds_to_order  # noqa: E402
from training.samples.augmentation import PRESETS, Augmentation  # noqa: E402

PATCHES = {2: (512, 512), 3: (128, 128, 128)}
NETWORKS = ("resunet-s", "resunet-m")
PROCESSES = (8, 16)
LEAST = 10


def cpu_ms(work: Callable[[], object], seconds: float) -> float:
    """Of one call, on the mean; patches differ, by what is drawn for them."""
    work()
    begun, count = time.process_time(), 0
    while count < LEAST or time.process_time() - begun < seconds:
        work()
        count += 1
    return 1000 * (time.process_time() - begun) / count


def row(preset: str, dims: int, seconds: float) -> dict[str, Any]:
    """What one preset costs."""
    patch, rng = PATCHES[dims], np.random.default_rng(0)
    augmentation = Augmentation(preset, patch)
    space = tuple(round(1.5 * n) for n in patch)
    image = rng.normal(size=(1, *space)).astype(np.float32)
    labels = (image > 1).astype(np.uint8)

    def cut() -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
        region = augmentation.region(rng)
        at = tuple(slice(s, s + n) for s, n in zip(rng.integers(0, 8, dims), region, strict=True))
        return np.array(image[:, *at]), np.array(labels[:, *at]), rng

    found: dict[str, Any] = {"dims": dims, "patch": list(patch), "preset": preset}
    for name, work in (
        ("host", lambda: augmentation(*cut())),
        ("with_device", lambda: augmentation.begin(*cut())),
    ):
        found[f"{name}_ms"] = cpu_ms(work, seconds)
        for count in PROCESSES:
            found[f"{name}_{count}_processes"] = 1000 * count / found[f"{name}_ms"]
    plan: Any = SimpleNamespace(
        augmentation=preset, patch=patch, mirror_axes=None, normalisation=[None], seed=0
    )
    found["told_ms"] = 1000 * min(seconds_to_order(plan) for _ in range(3))
    return found


def wanted(network: str, dims: int) -> dict[str, Any]:
    """Patches a second that a fast card takes."""
    patch = PATCHES[dims]
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        outputs = network_of(Setting(network, patch, 1), deep_supervision=True)(
            torch.randn(1, 1, *patch)
        )
        sum(output.sum() for output in outputs).backward()
    rate = PEAK_SHARES[dims] * NOMINAL_TFLOPS["H200"] * 1e12 / counter.get_total_flops()
    return {"dims": dims, "patch": list(patch), "network": network, "wanted_a_second": rate}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3, help="of CPU, for each figure")
    parser.add_argument("--dims", type=int, nargs="+", choices=(2, 3), default=[2, 3])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [wanted(network, dims) for dims in options.dims for network in NETWORKS]
    for each in rows:
        print(f"{each['network']} in {each['dims']}D takes {each['wanted_a_second']:.0f} a second")
    for dims in options.dims:
        for preset in PRESETS:
            rows.append(row(preset, dims, options.seconds))
            figures = (f"{k} {v:.4g}" for k, v in rows[-1].items() if isinstance(v, float))
            print(f"{dims}D {preset}: {'  '.join(figures)}", flush=True)
    report("patches", rows, [], ("torch", "monai", "albumentations"), options.json)


if __name__ == "__main__":
    main()
