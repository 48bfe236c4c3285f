"""What this machine can do, measured."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from seg.errors import ConfigError
from seg.networks import ResidualUNet, parameter_count
from training.dataset.legend import Legend
from training.losses import make_loss
from training.memory import peak_of
from training.module import OPTIMISERS
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


@dataclass(frozen=True)
class Measured:
    """Real training steps on this machine."""

    seconds: float
    """Of a step; the fastest of some, since other programs disturb."""
    bytes: int
    """At the highest point, above what the program held before."""
    parameters: int


def find_device(world: World = ALONE) -> Device:
    """The CUDA device where there is one, else the CPU."""
    if torch.cuda.is_available():
        return Device("cuda", torch.cuda.get_device_name(), world)
    return Device("cpu", f"CPU, {torch.get_num_threads()} threads", world)


def has_bfloat16(device: Device) -> bool:
    """Whether the processor has instructions for it.

    bfloat16 keeps float32's range, so that it needs no loss scaling.
    """
    if device.kind == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@contextmanager
def using_threads(count: int | None) -> Iterator[None]:
    """Compute on a CPU with so many threads within the block; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def lacks_memory(error: RuntimeError) -> bool:
    """Whether torch could not have the memory that it asked for, of a GPU or of the machine."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def measured_step(
    plan: Plan, legend: Legend, device: Device, precision: Precision, patience_s: float
) -> Measured:
    """Take a few training steps as the plan says, in another precision.

    Args:
        plan: says network, patch, batch, loss and optimiser.
        legend: says how many channels the logits have.
        device: to measure; of several processes each takes its share of the batch.
        precision: of the network.
        patience_s: after so many seconds no further step is begun.

    Raises:
        ConfigError: the device's memory is too small for a step.
    """
    shape = (max(1, plan.batch_size // device.world.size), len(plan.normalisation), *plan.patch)
    try:
        with peak_of(device.kind) as peak:
            parameters, seconds = _steps(plan, legend, device.kind, precision, shape, patience_s)
    except RuntimeError as error:
        if not lacks_memory(error):
            raise
        raise ConfigError(
            f"{device.name} has too little memory for a step of {shape}; set a smaller "
            "--batch-size or --patch"
        ) from error
    return Measured(seconds, max(0, peak.bytes - peak.before), parameters)


def _steps(
    plan: Plan,
    legend: Legend,
    kind: str,
    precision: Precision,
    shape: tuple[int, ...],
    patience_s: float,
) -> tuple[int, float]:
    network = ResidualUNet(plan.network_config(legend.outputs)).to(kind)
    loss = make_loss(legend, plan.loss, plan.class_weights)
    optimiser = OPTIMISERS[plan.optimiser]([{"params": network.parameters()}], lr=0.0)
    images = torch.randn(shape, device=kind)
    labels = torch.randint(legend.num_labels, (shape[0], 1, *shape[2:]), device=kind).float()
    best, begun = float("inf"), time.perf_counter()
    for _ in range(1 + TIMED_STEPS):
        start = time.perf_counter()
        optimiser.zero_grad()
        with torch.autocast(kind, torch.bfloat16, enabled=precision == "bfloat16"):
            logits = network(images)
        loss(logits, labels).backward()
        optimiser.step()
        if kind == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
        if time.perf_counter() - begun > patience_s:
            break
    return parameter_count(network), best
