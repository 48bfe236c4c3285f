"""Whole numbers in headers and queries."""

MOST_DIGITS = 18
"""More of them are no number of bytes or of anything else here, and costly to read."""


def whole_number(text: str) -> int | None:
    """What decimal digits say; None of anything else."""
    if text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS:
        return int(text)
    return None
