"""What the service itself refuses or gives up, and why."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager


class NotReadyError(Exception):
    """The model does not serve yet, or never will; the message says which and why."""


class RequestCancelledError(Exception):
    """The client has gone or the time is up: nobody waits for the answer."""


class SchedulerClosedError(Exception):
    """The service is shutting down."""


class DecodingFullError(Exception):
    """Other images that are being decoded leave no room for this one; they will."""

    def __init__(self) -> None:
        super().__init__("other images leave no room to decode this one now; try again later")


class DecoderFailedError(Exception):
    """Something of ours failed while an image was decoded."""


@contextmanager
def keeping_nothing() -> Iterator[None]:
    """Where the block fails, what its frames held is free at once.

    An error holds its frames and a frame may hold its error, in a future for one: the image that
    was segmented, and its room, would stay until the garbage collector looks, which may be hours.
    """
    try:
        yield
    except BaseException as error:
        let_go(error)
        raise


def let_go(error: BaseException) -> None:
    """Free what the frames of an error held, and of those behind it; they have ended."""
    traceback.clear_frames(error.__traceback__)
    for before in {error.__cause__, error.__context__}:
        if before is not None:
            let_go(before)
