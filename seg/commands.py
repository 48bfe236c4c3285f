"""How every command ends: a status, and one sentence where it could not do what was asked."""

import argparse
import math
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from seg.errors import SegError

REFUSED, STOPPED = 2, 130
"""A user must repair something; a user asked to stop."""

SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")
"""All that NumPy says of a disk that is full."""

_SURROGATE = re.compile("[\udc80-\udcff]")
"""Bytes of a name of a file that are no text stand as these in a string."""


def path_named(text: str) -> Path:
    """A file or folder on the command line.

    Raises:
        argparse.ArgumentTypeError: it is empty, as of a variable of the shell that is not set, and
            would be the folder that one is in; or it is no text, which no file of ours can hold.
    """
    if not text:
        raise argparse.ArgumentTypeError("expected a file or folder, got an empty name")
    if _SURROGATE.search(text):
        raise argparse.ArgumentTypeError(f"the name {text!a:.200} is not UTF-8; rename it")
    return Path(text)


def file_named(text: str) -> Path:
    """A file on the command line that must be there.

    Raises:
        argparse.ArgumentTypeError: it is not.
    """
    path = path_named(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text} is no file")
    return path


def positive(text: str) -> float:
    """A number on the command line.

    Raises:
        argparse.ArgumentTypeError: it is none above 0, or has no end.
    """
    number = finite(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def finite(text: str) -> float:
    """A number on the command line.

    Raises:
        argparse.ArgumentTypeError: it is none, or has no end.
    """
    with suppress(ValueError):
        if math.isfinite(number := float(text)):
            return number
    raise argparse.ArgumentTypeError(f"expected a finite number, got {text!r}")


def count(text: str) -> int:
    """A whole number on the command line.

    Raises:
        argparse.ArgumentTypeError: it is none from 1 on.
    """
    with suppress(ValueError):
        if (number := int(text)) >= 1:
            return number
    raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")


def add_target(parser: argparse.ArgumentParser) -> None:
    """The option for a folder that a command makes."""
    parser.add_argument(
        *("-o", "--out"),
        dest="target",
        type=path_named,
        required=True,
        metavar="DIR",
        help="new folder",
    )


def in_one_sentence(error: BaseException) -> str:
    """What is wrong, and what to do about it where that is known (the error's notes)."""
    said = str(error)
    if isinstance(error, UnicodeEncodeError):
        said = f"a name is not UTF-8: {error.object!a:.200}; rename the file or folder"
    if isinstance(error, MemoryError):
        said = f"the memory is too small: {error}"
    if isinstance(error, OSError):
        reason = "No space left on device" if SHORT_WRITE.match(said) else error.strerror or said
        # of a file that takes another's place it is that one's name that is known
        said = f"{error.filename2 or error.filename or 'a file'}: {reason}"
    return "; ".join([said, *getattr(error, "__notes__", ())])


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Where nobody handles it otherwise."""
    is_free = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not is_free or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def exit_status(
    command: Callable[[], int],
    say: Callable[[str], object] = lambda sentence: sys.stderr.write(f"{sentence}\n"),
    stopped: str = "stopped",
    *,
    serves: bool = False,
) -> int:
    """The status of the command, ``REFUSED`` or ``STOPPED``; any other exception is a bug of ours.

    SIGTERM stops it as Ctrl-C does, so that nothing half-written is left behind.

    Args:
        command: does the work.
        say: takes the sentence.
        stopped: what to say when a user asked to stop.
        serves: it is a server, which ends by SIGTERM in its own way.
    """
    try:
        with nullcontext() if serves else _stopped_by_sigterm():
            return command()
    except (SegError, OSError, MemoryError) as error:
        say(f"error: {in_one_sentence(error)}")
        return REFUSED
    except UnicodeEncodeError as error:
        if not _SURROGATE.search(error.object):
            raise
        say(f"error: {in_one_sentence(error)}")
        return REFUSED
    except KeyboardInterrupt as stop:
        say("; ".join([stopped, *getattr(stop, "__notes__", ())]))
        return STOPPED
