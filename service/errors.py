"""What the service itself refuses or gives up, and why."""


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
