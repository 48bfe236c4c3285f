"""What this machine offers: cores, a cache folder; memory and processes given back to it."""

import contextlib
import ctypes
import math
import os
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait
from pathlib import Path

import platformdirs

from seg.control_groups import cpu_quota, memory_limit

SPINS = "10000"
"""Of libgomp. Measured, 60 steps of a small network on two cores: 19.6 steps a second quiet and 5.9
beside two busy programs; by default 16.9 and 4.0, with 1000 16.4 and 5.2, without any 9 and 6.4."""


def cores() -> int:
    """CPU cores that this process may use, those of a container's quota at most.

    A part of a core counts as one: half a core keeps one thread busy, not two.
    """
    shown = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = cpu_quota()
    return min(shown or 1, shown or 1 if quota is None else max(1, math.ceil(quota)))


def memory_here() -> int:
    """Bytes of memory that the container has, or the machine."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(machine, memory_limit() or machine)


def tell_openmp() -> None:
    """Say in the environment how OpenMP's threads behave; before torch is loaded.

    Threads that have done their part of a step spin until the others have as well: beside another
    busy program these wait for the very core that is spun on. A short while costs nothing on a
    quiet machine. There are no more threads than a container has cores. What a user has set stays.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPINS
    if cpu_quota() is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(cores()))


def return_free_memory() -> None:
    """Give what was freed back to the system, where the C library keeps it for itself.

    Of a network of 400 MiB, what onnxruntime made and freed while loading it were 800 MiB.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # a C library that is not GNU's
        ctypes.CDLL(None).malloc_trim(0)


def end_with_parent() -> None:
    """End this process when the one that started it has ended, however that was killed.

    Workers of a pool that nobody shuts down wait for work for ever, with all their memory.
    """
    if parent := parent_process():
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def cache_folder() -> Path:
    """Where what was found out about this machine is kept."""
    return platformdirs.user_cache_path("seg", appauthor=False)
