"""Where a training runs: device, threads, precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from seg.errors import ConfigError
from seg.machine import cores
from training.run.plan import Plan
from training.run.processes import ALONE, World

Precision = Literal["float32", "bfloat16"]


WORKERS = {"cpu": 1, "cuda": 8}
"""Processes that make patches, at most one a core; on a CPU the cores belong to the network."""


@dataclass(frozen=True)
class Device:
    """Where the network trains."""

    kind: Literal["cpu", "cuda"]
    name: str
    world: World = ALONE
    """The processes that train together, each on a device of this kind."""


def workers_of(device: Device) -> int:
    """Processes that make patches for one device; those of a machine share its cores."""
    return max(1, min(WORKERS[device.kind], cores() // device.world.devices))


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


def check_precision(precision: str | None, device: Device) -> None:
    """Pass where the device trains in it; None is what will be planned.

    Raises:
        ConfigError: it does not.
    """
    if precision == "float16" and device.kind == "cpu":
        raise ConfigError("float16 trains on a GPU only; on a CPU choose float32 or bfloat16")


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


def memory_format(plan: Plan) -> torch.memory_format:
    """How the network and its images lie in memory."""
    if not plan.channels_last:
        return torch.contiguous_format
    return torch.channels_last if len(plan.patch) == 2 else torch.channels_last_3d
