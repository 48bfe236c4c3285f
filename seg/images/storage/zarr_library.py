"""zarr, imported by one thread at a time.

Its modules import each other in a circle: a thread that begins with one of them while another still
imports the package finds modules that are half made, and gets an ImportError.
"""

import threading
from types import ModuleType

_ONE_AT_A_TIME = threading.Lock()


def zarr_library() -> ModuleType:
    """Zarr with all of it that is used here."""
    with _ONE_AT_A_TIME:
        import zarr
        import zarr.core.buffer.cpu
        import zarr.storage
    return zarr  # type: ignore[no-any-return]  # it is read as untyped
