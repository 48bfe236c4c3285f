"""What the control groups of this process, those of its container for one, let it use.

Linux has two versions of them, version 1 with a tree of groups for each resource and version 2
with one tree for all, and machines with both at once. A group has no more than each group above it.

Source: the kernel's own pages, Control Group v2 and cgroup-v1 (docs.kernel.org).
"""

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

HERE = Path("/")
"""Where ``proc`` and ``sys`` lie."""


def cpu_quota(root: Path = HERE) -> float | None:
    """Cores' worth of time that this process may use, such as 0.5; None where nothing bounds it."""
    quotas = [
        quota
        for group in _groups(root, "cpu")
        if (quota := _quota_v2(group) or _quota_v1(group)) is not None
    ]
    return min(quotas, default=None)


def memory_limit(root: Path = HERE) -> int | None:
    """Bytes that this process, and those beside it in its group, may use; None without a limit."""
    limits = [limit for group in _groups(root, "memory") if (limit := _limit(group)) is not None]
    return min(limits, default=None)


def memory_left(root: Path = HERE) -> int | None:
    """Bytes of the limit that are free; None where there is no limit.

    Cached files that nobody has touched lately count as free, since they give way.
    """
    left = []
    for group in _groups(root, "memory"):
        limit = _limit(group)
        used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes")
        if limit is not None and used is not None:
            left.append(max(0, limit - max(0, used - _idle_cache(group))))
    return min(left, default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the group that this process is in, and of those above it, of both versions."""
    for mount_root, mount, is_of in _mounts(root, controller):
        for path in _paths(root, is_of):
            inside = PurePosixPath(path)
            # in a container the mount shows the group itself, or the path is told from outside
            below = inside.relative_to(mount_root) if inside.is_relative_to(mount_root) else ""
            top = root / mount.lstrip("/")
            group = top / below
            yield group if group.is_dir() else top
            while group != top:
                group = group.parent
                yield group


def _mounts(root: Path, controller: str) -> Iterator[tuple[str, str, Callable[[str, str], bool]]]:
    """Root within its tree, place, and which lines of ``/proc/self/cgroup`` are of it."""
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, (kind, *_, options) = before.split(), (after.split() or [""])
        if kind == "cgroup2":
            yield fields[3], fields[4], lambda number, names: number == "0" and not names
        elif kind == "cgroup" and controller in options.split(","):
            yield fields[3], fields[4], lambda _, names: controller in names.split(",")


def _paths(root: Path, is_of: Callable[[str, str], bool]) -> Iterator[str]:
    for line in _lines(root / "proc/self/cgroup"):
        number, names, path = (*line.split(":", 2), "", "")[:3]
        if is_of(number, names):
            yield path


def _quota_v2(group: Path) -> float | None:
    for line in _lines(group / "cpu.max"):
        quota, period = (*line.split(), "")[:2]
        if quota.isdigit() and period.isdigit() and int(period):
            return int(quota) / int(period)
    return None


def _quota_v1(group: Path) -> float | None:
    quota, period = (_number(group / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    return quota / period if quota and period and quota > 0 else None


def _limit(group: Path) -> int | None:
    for name in ("memory.max", "memory.limit_in_bytes"):
        limit = _number(group / name)
        if limit is not None and limit < UNLIMITED:
            return limit
    return None


UNLIMITED = 2**60
"""From here on a limit of version 1 is none: the kernel writes its largest number of pages."""


def _idle_cache(group: Path) -> int:
    for line in _lines(group / "memory.stat"):
        name, _, size = line.partition(" ")
        if name in ("total_inactive_file", "inactive_file") and size.isdigit():
            return int(size)
    return 0


def _number(file: Path) -> int | None:
    for line in _lines(file):
        try:
            return int(line)
        except ValueError:  # "max"
            return None
    return None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
