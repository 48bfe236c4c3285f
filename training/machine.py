"""What this machine can do, measured."""

import time
from dataclasses import dataclass
from typing import Literal

import torch

from seg.networks import ResidualUNet
from training.dataset.legend import Legend
from training.losses import make_loss
from training.plan import Plan
from training.world import ALONE, World

TIMED_STEPS = 2
CLEARLY_FASTER = 0.85
"""A lower precision is taken only where a step takes at most this share of the time."""

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Device:
    """Where the network trains."""

    kind: Literal["cpu", "cuda"]
    name: str
    world: World = ALONE
    """The processes that train together, each on a device of this kind."""


def find_device(world: World = ALONE) -> Device:
    """The CUDA device where there is one, else the CPU."""
    if torch.cuda.is_available():
        return Device("cuda", torch.cuda.get_device_name(), world)
    return Device("cpu", f"CPU, {torch.get_num_threads()} threads", world)


def fastest_precision(plan: Plan, legend: Legend, device: Device) -> tuple[Precision, float]:
    """The precision in which a real training step is fastest, and seconds a step.

    bfloat16 keeps float32's range, so that it needs no loss scaling; it is tried only where the
    processor has instructions for it.
    """
    full = _seconds_a_step(plan, legend, device, "float32")
    if _has_bfloat16(device):
        lower = _seconds_a_step(plan, legend, device, "bfloat16")
        if lower < CLEARLY_FASTER * full:
            return "bfloat16", lower
    return "float32", full


def _has_bfloat16(device: Device) -> bool:
    if device.kind == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _seconds_a_step(plan: Plan, legend: Legend, device: Device, precision: Precision) -> float:
    """Seconds of a real training step; the fastest of some, since other programs disturb."""
    network = ResidualUNet(plan.network_config(legend.outputs)).to(device.kind)
    loss = make_loss(legend, plan.loss, plan.class_weights)
    shape = (max(1, plan.batch_size // device.world.size), len(plan.normalisation), *plan.patch)
    images = torch.randn(shape, device=device.kind)
    labels = torch.randint(
        legend.num_labels, (shape[0], 1, *plan.patch), device=device.kind
    ).float()
    best = float("inf")
    for _ in range(1 + TIMED_STEPS):
        start = time.perf_counter()
        lower = precision == "bfloat16"
        with torch.autocast(device.kind, torch.bfloat16, enabled=lower):
            logits = network(images)
        loss(logits, labels).backward()
        if device.kind == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best
