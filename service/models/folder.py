"""The folder of model packages, as it is at a moment."""

import shutil
import time
from contextlib import suppress
from pathlib import Path

from seg.errors import ConfigError
from seg.model_package import CARD_FILE
from service.settings import Settings

Fingerprint = tuple[tuple[str, int, int], ...]
"""Name, size and time of change in nanoseconds of each file: another one, another package."""

ARRIVING = ".arriving-"
"""Begins the names of folders that nobody takes for packages yet."""
UNPROVEN = ".unproven"
"""Lies in a package that came over the network until a process has proven it. Where it stays, that
process died over the package, and the next one would too."""
GONE = ".gone"
"""Ends the hidden names of folders that are being deleted."""
STALE_S = 24 * 3600.0
"""Seconds after which what is still arriving or going belongs to a process that died."""


def remove_leftovers(root: Path) -> None:
    """Delete what processes that died over a package have left of it."""
    unproven = (mark.parent for mark in root.glob(f"*/{UNPROVEN}"))
    for left in (*root.glob(f"{ARRIVING}*"), *root.rglob(f".*{GONE}"), *unproven):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_S:
                shutil.rmtree(left, ignore_errors=True)


def packages_in(root: Path) -> dict[Path, Fingerprint]:
    """The packages below a folder, ``NAME/`` or ``NAME/VERSION/``, by their paths.

    Hidden folders are left out, which are packages that are being written, and those that nobody
    has proven.
    """
    found: dict[Path, Fingerprint] = {}
    for card in (*root.glob(f"*/{CARD_FILE}"), *root.glob(f"*/*/{CARD_FILE}")):
        folder = card.parent
        is_hidden = any(part.startswith(".") for part in folder.relative_to(root).parts)
        if not is_hidden and not (folder / UNPROVEN).exists():
            fingerprint = fingerprint_of(folder)
            if fingerprint:
                found[folder] = fingerprint
    return dict(sorted(found.items()))


def fingerprint_of(folder: Path) -> Fingerprint:
    """What tells whether a package is still the one that was seen; empty when it has gone."""
    try:
        files = [path for path in folder.iterdir() if path.is_file() and path.name != UNPROVEN]
        stats = [(path.name, path.stat()) for path in files]
    except OSError:
        return ()
    return tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


def check_packages(settings: Settings) -> None:
    """Whether there is something to serve, before a process is started for it.

    Raises:
        ConfigError: there is not.
    """
    if settings.models and not settings.models.is_dir():
        raise ConfigError(
            f"SEG_MODELS={settings.models} is no folder; name one that holds model packages"
        )
    package = settings.single_package
    if package and not (package / CARD_FILE).is_file():
        raise ConfigError(
            f"{package} is no model package: it has no {CARD_FILE}; name the folder that "
            "`python -m training.fit` wrote as package/ in SEG_PACKAGE"
        )
