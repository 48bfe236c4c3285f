"""What a process and all that it started take."""

import os
from contextlib import suppress
from pathlib import Path

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


def own_bytes(process: int) -> int:
    """Memory of a process that it shares with no other, by its id; 0 where the system says none."""
    with suppress(OSError, ValueError):
        text = Path(f"/proc/{process}/statm").read_text(encoding="ascii")
        _, resident, shared, *_ = map(int, text.split())
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE")
    return 0
