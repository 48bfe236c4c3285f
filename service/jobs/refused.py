"""Why a job is not taken in."""


class QueueFullError(Exception):
    """As many jobs wait as may."""


class KeyInUseError(Exception):
    """The job of this idempotency key is there already, or on its way."""


class NoRoomError(Exception):
    """Files of jobs take as many bytes as they may.

    Args:
        of_key: those of the one who asks, not those of all.
    """

    def __init__(self, *, of_key: bool) -> None:
        super().__init__(of_key)
        self.of_key = of_key


class TooManyKeptError(Exception):
    """As many jobs are kept as may be.

    Args:
        of_key: those of the one who asks, not those of all.
    """

    def __init__(self, *, of_key: bool) -> None:
        super().__init__(of_key)
        self.of_key = of_key
