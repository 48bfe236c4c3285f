"""Requests to stop, as a person at the terminal or a scheduler sends them, to this very process."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def sent_as_soon_as(holds: Callable[[], object], request: signal.Signals) -> Iterator[None]:
    """Within the block the process is sent a signal once something holds.

    What the block makes of later signals is undone; one that it would not survive interrupts it.
    """
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(request, signal.default_int_handler)
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.005):
            if holds():
                os.kill(os.getpid(), request)
                return

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        is_over.set()
        watching.join()
        for each, handler in handlers.items():
            signal.signal(each, handler)
