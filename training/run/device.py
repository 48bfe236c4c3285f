"""Where a training runs: device, threads, precision."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from seg.cuda_driver import DEVICE_VARIABLE, chosen_device, cuda_devices, driver_version
from seg.errors import ConfigError
from seg.machine import cores
from training.run.names import PrecisionName
from training.run.plan import Plan
from training.run.processes import ALONE, World

log = logging.getLogger("training")


WORKERS = {"cpu": 1, "cuda": 8}
"""Processes that make patches, at most one a core; on a CPU the cores belong to the network."""


@dataclass(frozen=True)
class Device:
    """Where the network trains."""

    kind: Literal["cpu", "cuda"]
    name: str
    world: World = ALONE
    """The processes that train together, each on a device of this kind."""
    index: int = 0
    """Of the CUDA device, where one process trains alone."""


def workers_of(device: Device) -> int:
    """Processes that make patches for one device; those of a machine share its cores."""
    return max(1, min(WORKERS[device.kind], cores() // device.world.devices))


def find_device(world: World = ALONE) -> Device:
    """The CUDA device where there is one that torch can use, else the CPU.

    A process that trains alone takes the one that ``SEG_CUDA_DEVICE`` says. Why one that is there
    is left idle is logged.

    Raises:
        ConfigError: no device has the number that ``SEG_CUDA_DEVICE`` says.
    """
    idle = _why_idle()
    if idle:
        log.warning("machine   the CPU trains, though a graphics card is here: %s", idle)
    if idle or not torch.cuda.is_available():
        threads = torch.get_num_threads()
        return Device("cpu", f"CPU, {threads} thread{'' if threads == 1 else 's'}", world)
    index = torch.cuda.current_device() if world.size > 1 else chosen_device()
    if index >= torch.cuda.device_count():
        raise ConfigError(
            f"there are {torch.cuda.device_count()} CUDA devices, and {DEVICE_VARIABLE} asks for "
            f"number {index}"
        )
    torch.cuda.set_device(index)  # what is measured without Lightning shall lie there as well
    return Device("cuda", torch.cuda.get_device_name(index), world, index)


def _why_idle() -> str:
    """Why torch cannot use the cards that the driver has; empty where it can, or has none."""
    if not torch.cuda.is_available():
        known = driver_version()
        if not cuda_devices() or known is None:
            return ""
        if torch.version.cuda is None:
            return "this torch was built without CUDA"
        if known[0] < int(torch.version.cuda.split(".")[0]):
            return (
                f"NVIDIA's driver knows CUDA up to {known[0]}.{known[1]}, this torch is made for "
                f"{torch.version.cuda}: update the driver"
            )
        return "torch does not say why; python -c 'import torch; torch.cuda.init()' may"
    built = [int(name[3:].rstrip("af")) for name in torch.cuda.get_arch_list() if name[:3] == "sm_"]
    major, minor = torch.cuda.get_device_capability(None)
    if built and 10 * major + minor < min(built):
        oldest = min(built)
        return (
            f"{torch.cuda.get_device_name()} has compute capability {major}.{minor}, and this "
            f"torch has code from {oldest // 10}.{oldest % 10} on"
        )
    return ""


def lower_precision(device: Device) -> PrecisionName | None:
    """The 16-bit floats for which the processor has instructions.

    bfloat16 keeps float32's range, so that it needs no loss scaling; cards before compute
    capability 8.0 have float16 alone, and torch would only imitate the other.
    """
    if device.kind == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    has = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if has else None


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


def memory_format(plan: Plan) -> torch.memory_format:
    """How the network and its images lie in memory."""
    if not plan.channels_last:
        return torch.contiguous_format
    return torch.channels_last if len(plan.patch) == 2 else torch.channels_last_3d
