"""What a process and all that it started take."""

from contextlib import suppress

import psutil


def family_of(process: psutil.Process) -> list[psutil.Process]:
    """It and all below it; those that have ended are left out."""
    with suppress(psutil.Error):
        return [process, *process.children(recursive=True)]
    return []


def family_bytes(process: psutil.Process) -> int:
    """Memory of all of them; what they share counts once, where the system tells."""
    total = 0
    for each in family_of(process):
        with suppress(psutil.Error):
            total += getattr(each.memory_full_info(), "pss", 0) or each.memory_info().rss
    return total
