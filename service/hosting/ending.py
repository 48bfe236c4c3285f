"""The end of a process that serves: in bounded time, whatever runs."""

import signal
import threading
from collections.abc import Callable

FINISH_S = 20.0
"""Seconds in which what runs may be finished."""
END_S = 28.0
"""Seconds after which the process is gone, and what was in it is answered for by the supervisor,
which waits 30 s."""


class Ending:
    """Begins once.

    Args:
        cancel: ends what runs, from a thread of its own.
    """

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel
        self._has_begun = False

    def begin(self) -> None:
        """No more requests come."""
        if self._has_begun:
            return
        self._has_begun = True
        if hasattr(signal, "setitimer"):
            # The system's own alarm: it asks no thread of Python, which may hold the interpreter.
            signal.setitimer(signal.ITIMER_REAL, END_S)
        timer = threading.Timer(FINISH_S, self._cancel)
        timer.daemon = True
        timer.start()
