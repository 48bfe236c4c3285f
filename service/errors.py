"""What the service itself refuses or gives up, and why."""


class NotReadyError(Exception):
    """The model does not serve yet, or never will; the message says which and why."""


class RequestCancelledError(Exception):
    """The client has gone or the time is up: nobody waits for the answer."""


class SchedulerClosedError(Exception):
    """The service is shutting down."""
