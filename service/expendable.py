"""Processes that end with the one that made them."""

import os
import signal
import sys

_SET_PARENT_DEATH_SIGNAL = 1


def end_with_parent(by: signal.Signals, parent: int | None = None) -> None:
    """Have the kernel send this process a signal when the one that made it ends.

    Args:
        by: that signal.
        parent: id of that process; where it has ended already, the signal comes at once.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, by)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), by)


def be_expendable() -> None:
    """The kernel ends this process before the service, and when the one that made it ends."""
    import resource  # there is none on Windows, where nothing is expendable

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    end_with_parent(signal.SIGKILL)
    if sys.platform != "linux":
        return
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
            file.write("1000")
    except OSError:
        pass
