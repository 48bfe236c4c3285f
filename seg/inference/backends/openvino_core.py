"""What all of OpenVINO in a process hangs on."""

from functools import cache
from typing import Any


@cache
def openvino_core() -> Any:
    """One of the process, kept to its end.

    Its CPU plugin gives the thread that loads the first model a stack for signals, and takes it
    back when the last model goes, in whichever thread that happens: the first one's next signal,
    as of a child that ends, would then kill the process (OpenVINO 2026.4).

    Raises:
        ImportError: OpenVINO is not installed.
    """
    import openvino

    return openvino.Core()
