"""Why a request failed, in one word: for metrics."""

from starlette.types import Scope

_STATE = "fault"
PROCESS_DIED = "process_died"

KIND_OF_STATUS = {
    400: "form",
    401: "key",
    403: "scope",
    404: "not_found",
    405: "method",
    406: "format",
    408: "slow_upload",
    409: "conflict",
    413: "too_large",
    415: "not_an_image",
    422: "unfit",
    429: "client_limit",
    499: "client_left",
    500: "internal",
    503: "full",
    504: "timeout",
}
"""What a status means here, unless something more exact is known."""


def note_fault(scope: Scope, kind: str) -> None:
    """Remember of a request why it fails, where its status does not say it."""
    scope.setdefault("state", {})[_STATE] = kind


def fault_of(scope: Scope, status: int) -> str:
    """The kind of a failed request."""
    noted = scope.get("state", {}).get(_STATE)
    return str(noted or KIND_OF_STATUS.get(status, "other"))
