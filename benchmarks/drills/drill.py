"""What every drill works with."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.result import bar
from benchmarks.small_package import write_package

PATCH = (64, 64)


@dataclass(frozen=True)
class Drill:
    """One drill: where it works, what it does, and what it finds out."""

    name: str
    folder: Path
    uploads: int
    """Of the fuzzed ones."""
    kills: int
    """Of the killed training."""
    seed: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    bars: list[dict[str, Any]] = field(default_factory=list)

    def package(self) -> Path:
        """A package whose network costs next to nothing."""
        folder = self.folder / "package"
        if not folder.exists():
            write_package(folder, PATCH, 1, 3)
        return folder

    def jobs(self) -> dict[str, str]:
        """Where the service keeps its jobs."""
        return {"SEG_JOBS_FILES": str(self.folder / "jobs")}

    def saw(self, **row: Any) -> None:
        """Keep a row and show it."""
        self.rows.append({"drill": self.name, **row})
        print(f"{self.name}:", "  ".join(f"{k} {_short(v)}" for k, v in row.items()), flush=True)

    def at_most(self, what: str, value: float, bound: float) -> None:
        """Judge a figure."""
        self.bars.append({"drill": self.name, **bar(what, value, bound, at_most=True)})

    def at_least(self, what: str, value: float, bound: float) -> None:
        """Judge a figure."""
        self.bars.append({"drill": self.name, **bar(what, value, bound, at_most=False)})


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
