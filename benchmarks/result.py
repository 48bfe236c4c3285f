"""What all benchmarks print and write."""

import ctypes
import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def bar(what: str, value: float, bound: float, *, at_most: bool) -> dict[str, Any]:
    """A figure and whether it holds what was promised."""
    holds = value <= bound if at_most else value >= bound
    return {"what": what, "value": value, "bound": bound, "holds": bool(holds)}


def report(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    bars: Sequence[Mapping[str, Any]],
    libraries: Sequence[str],
    target: Path | None,
) -> None:
    """Print the bars, and write everything where a file was named."""
    show(bars)
    if target is not None:
        write(name, rows, bars, libraries, target)


def show(bars: Sequence[Mapping[str, Any]]) -> None:
    """Print figures and whether they hold."""
    for each in bars:
        verdict = "holds" if each["holds"] else "MISSED"
        print(
            f"{each['what']}: {each['value']:.3g}, bound {each['bound']:g}: {verdict}", flush=True
        )


def write(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    bars: Sequence[Mapping[str, Any]],
    libraries: Sequence[str],
    target: Path,
) -> None:
    """Write a result with the machine and the versions that it was had on."""
    result = {
        "name": name,
        "machine": f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}",
        "load": round(os.getloadavg()[0], 1),  # more than the cores: others used them too
        "versions": {
            "python": platform.python_version(),
            **{library: version_of(library) for library in libraries},
        },
        "rows": list(rows),
        "bars": list(bars),
    }
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def version_of(library: str) -> str:
    """Of what is installed; what is not must not cost the minutes of a measurement."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def forget_peak() -> None:
    """Let ``peak_mib`` tell of what follows alone, with what is held now."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mib() -> float:
    """Most memory that this process has had at a time, by the kernel's count."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this benchmark reads /proc, which only Linux has")
