"""What this machine offers: cores, CUDA devices, a cache folder; memory given back to it."""

import contextlib
import ctypes
import os
import sys
from pathlib import Path


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def return_free_memory() -> None:
    """Give what was freed back to the system, where the C library keeps it for itself.

    Of a network of 400 MiB, what onnxruntime made and freed while loading it were 800 MiB.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # a C library that is not GNU's
        ctypes.CDLL(None).malloc_trim(0)


def cuda_devices() -> int:
    """CUDA devices that the driver shows.

    Asked of the driver itself: where there is none, nothing is loaded and nothing printed.
    """
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def cache_folder() -> Path:
    """Where what was found out about this machine is kept."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "seg"
