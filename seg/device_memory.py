"""Whether an error says that memory ran out, in the words of the library that raises it."""

import re

from seg.errors import DeviceMemoryError

NO_ROOM = re.compile(
    # CUDA and its driver, torch: "out of memory", CUDA_ERROR_OUT_OF_MEMORY
    r"out[ _]of[ _]memory"
    # onnxruntime's arenas
    r"|failed to allocate|smaller than requested bytes"
    # cuBLAS, cuFFT and cuDNN (..._ALLOC_FAILED, since version 9 ..._ALLOCATION_FAILED)
    r"|alloc(?:ation)?_?\s?failed"
    # torch's convolutions, when no way of computing one finds its workspace
    r"|unable to find an engine to execute"
    # the machine: C++, torch, the kernel
    r"|bad_?\s?alloc|DefaultCPUAllocator|cannot allocate memory",
    re.I,
)


def lacks_memory(error: BaseException) -> bool:
    """Whether there was no room, on a card or in the machine."""
    return isinstance(error, MemoryError | DeviceMemoryError) or bool(NO_ROOM.search(str(error)))
