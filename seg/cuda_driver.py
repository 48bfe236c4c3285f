"""What NVIDIA's driver says of its cards.

Asked of the driver itself: where there is none, nothing is loaded and nothing printed. It shows
what ``CUDA_VISIBLE_DEVICES`` leaves in sight, parts of cards (MIG) included.
"""

import ctypes
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from seg.errors import ConfigError

DEVICE_VARIABLE = "SEG_CUDA_DEVICE"
"""Number of the card, of those in sight, that this process computes on."""
MEMORY_VARIABLE = "SEG_CUDA_MEMORY_MB"
"""Most of its memory that one network may hold, in 10⁶ bytes."""


@dataclass(frozen=True)
class CudaCard:
    """A CUDA device; of what cannot be asked nothing is known."""

    name: str = ""
    uuid: str = ""
    memory: int = 0
    """Bytes in all."""


def cuda_devices() -> int:
    """CUDA devices in sight."""
    driver = _driver()
    count = ctypes.c_int(0)
    if driver is None or driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def driver_version() -> tuple[int, int] | None:
    """The newest CUDA that the driver can run; None without one."""
    driver = _driver()
    number = ctypes.c_int(0)
    if driver is None or driver.cuDriverGetVersion(ctypes.byref(number)):
        return None
    return number.value // 1000, number.value % 1000 // 10


def cards() -> tuple[CudaCard, ...]:
    """All of them, in the driver's order."""
    return tuple(_card(index) for index in range(cuda_devices()))


def chosen_device() -> int:
    """The card of this process: the first, unless ``DEVICE_VARIABLE`` says another.

    Raises:
        ConfigError: it says no number.
    """
    said = os.environ.get(DEVICE_VARIABLE) or "0"
    if not said.isdecimal():
        raise ConfigError(
            f"{DEVICE_VARIABLE} is the number of a card in sight, from 0 on, got {said!r}; "
            "CUDA_VISIBLE_DEVICES takes UUIDs"
        )
    return int(said)


def take_only_card() -> None:
    """Where one is in sight, as a scheduler leaves it, forget which one an operator has chosen."""
    if cuda_devices() == 1:
        os.environ.pop(DEVICE_VARIABLE, None)


def memory_limit() -> int | None:
    """Bytes of a card's memory that one network may hold; None for all.

    Raises:
        ConfigError: ``MEMORY_VARIABLE`` says no number above 0.
    """
    said = os.environ.get(MEMORY_VARIABLE)
    if not said:
        return None
    try:
        size = int(float(said) * 1e6)
    except (ValueError, OverflowError):
        size = 0
    if size <= 0:
        raise ConfigError(f"{MEMORY_VARIABLE} is a number of megabytes above 0, got {said!r}")
    return size


def lock_pages(address: int, size: int) -> Callable[[], None] | None:
    """Keep pages of this process where they are, so that the chosen card writes to them directly.

    Args:
        address: of the first byte; the beginning of a page.
        size: in bytes.

    Returns:
        What lets them go; None where the driver refuses, and the card copies in its own way.
    """
    driver = _driver()
    try:
        if driver is None or not _on_card(driver, driver.cuMemHostRegister_v2, address, size):
            return None
    except AttributeError:  # a driver that lacks a function
        return None

    def release() -> None:
        _on_card(driver, driver.cuMemHostUnregister, address)

    return release


FOR_ALL_CONTEXTS = 1
"""``CU_MEMHOSTREGISTER_PORTABLE``."""


def _on_card(driver: Any, function: Any, address: int, size: int | None = None) -> bool:
    """Call it in the context that all of CUDA's libraries in this process share."""
    device, context = ctypes.c_int(0), ctypes.c_void_p()
    if driver.cuDeviceGet(ctypes.byref(device), chosen_device()):
        return False
    if driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device):
        return False
    try:
        if driver.cuCtxPushCurrent_v2(context):
            return False
        more = () if size is None else (ctypes.c_size_t(size), ctypes.c_uint(FOR_ALL_CONTEXTS))
        refused = function(ctypes.c_void_p(address), *more)
        driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
        return not refused
    finally:
        driver.cuDevicePrimaryCtxRelease_v2(device)


def _driver() -> Any:
    try:
        return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None


def _card(index: int) -> CudaCard:
    driver, handle = _driver(), ctypes.c_int(0)
    name, uuid, memory = (
        ctypes.create_string_buffer(256),
        (ctypes.c_ubyte * 16)(),
        ctypes.c_size_t(),
    )
    try:
        if driver.cuDeviceGet(ctypes.byref(handle), index):
            return CudaCard()
        driver.cuDeviceGetName(name, len(name), handle)
        driver.cuDeviceGetUuid_v2(uuid, handle)
        driver.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    except AttributeError:  # a driver that lacks a function
        return CudaCard()
    return CudaCard(name.value.decode(errors="replace"), str(UUID(bytes=bytes(uuid))), memory.value)
