"""Why a job is not taken in."""


class QueueFullError(Exception):
    """As many jobs wait as may."""


class KeyInUseError(Exception):
    """The job of this idempotency key is there already, or on its way."""


class BoundError(Exception):
    """As much is kept as may be.

    Args:
        of_key: of the one who asks, not of all.
    """

    def __init__(self, *, of_key: bool) -> None:
        super().__init__(of_key)
        self.of_key = of_key


class NoRoomError(BoundError):
    """Bytes of the files of jobs."""


class TooManyKeptError(BoundError):
    """Jobs, those that are over as well."""
