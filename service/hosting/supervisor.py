"""How soon BentoML's supervisor sees that the process which serves has died."""

# BentoML and its supervisor are read as untyped.
# mypy: disable-error-code="misc"

from typing import Any

from bentoml._internal.utils import circus

LOOK_S = 0.5
"""Seconds between two looks; BentoML's own are 10, in which nobody would be answered."""


def watch_closely() -> None:
    """Let the supervisor of this process, which is still to be made, look more often."""
    usual = circus.Arbiter

    def watchful(*arguments: Any, **options: Any) -> Any:
        return usual(*arguments, **{**options, "check_delay": LOOK_S})

    circus.Arbiter = watchful
