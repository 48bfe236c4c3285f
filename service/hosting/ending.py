"""The end of a process that serves: in bounded time, whatever runs."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from service.observability.logs import LOGGER

FINISH_S = 20.0
"""Seconds in which what runs may be finished."""
END_S = 28.0
"""Seconds after which the process is gone, and what was in it is answered for by the supervisor,
which waits 30 s."""
LOOK_S = 2.0
"""Seconds between two looks at whether there is a cause to end."""
HOPELESS_S = 5.0
"""The same as the above where what runs will not be finished."""


class Ending:
    """Begins once.

    Args:
        cancel: ends what runs, from a thread of its own.
    """

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel
        self._has_begun = False

    def begin_by(self, *signals: signal.Signals) -> None:
        """Begin with these signals, from the main thread; what they do now they do still.

        The server tells nobody of its end before all that it works on is done, which something
        that hangs never is.
        """
        for each in signals:
            usual = signal.getsignal(each)

            def begin(number: int, frame: FrameType | None, usual: Any = usual) -> None:
                self.begin()
                if callable(usual):
                    usual(number, frame)

            signal.signal(each, begin)

    def begin(self, *, is_hopeless: bool = False) -> None:
        """No more requests come; ``is_hopeless``: what runs will not be finished."""
        if self._has_begun:
            return
        self._has_begun = True
        if hasattr(signal, "setitimer"):
            # The system's own alarm: it asks no thread of Python, which may hold the interpreter.
            signal.setitimer(signal.ITIMER_REAL, HOPELESS_S if is_hopeless else END_S)
        timer = threading.Timer(0.0 if is_hopeless else FINISH_S, self._cancel)
        timer.daemon = True
        timer.start()

    def begin_because(self, cause: Callable[[], str | None]) -> None:
        """Begin by SIGTERM as soon as there is a cause; whoever watches starts another process."""

        def look() -> None:
            looked = threading.Event()
            while not self._has_begun:
                if reason := cause():
                    LOGGER.error("device died", extra={"fields": {"reason": reason}})
                    self.begin(is_hopeless=True)
                    os.kill(os.getpid(), signal.SIGTERM)
                looked.wait(LOOK_S)

        threading.Thread(target=look, name="end-because", daemon=True).start()
