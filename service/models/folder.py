"""The folder of model packages, as it is at a moment."""

from pathlib import Path

from seg.model_package import CARD_FILE

Fingerprint = tuple[tuple[str, int, int], ...]
"""Name, size and time of change in nanoseconds of each file: another one, another package."""


def packages_in(root: Path) -> dict[Path, Fingerprint]:
    """The packages below a folder, ``NAME/`` or ``NAME/VERSION/``, by their paths.

    Hidden folders are left out: they are packages that are being written.
    """
    found: dict[Path, Fingerprint] = {}
    for card in (*root.glob(f"*/{CARD_FILE}"), *root.glob(f"*/*/{CARD_FILE}")):
        folder = card.parent
        if not any(part.startswith(".") for part in folder.relative_to(root).parts):
            fingerprint = fingerprint_of(folder)
            if fingerprint:
                found[folder] = fingerprint
    return dict(sorted(found.items()))


def fingerprint_of(folder: Path) -> Fingerprint:
    """What tells whether a package is still the one that was seen; empty when it has gone."""
    try:
        stats = [(path.name, path.stat()) for path in folder.iterdir() if path.is_file()]
    except OSError:
        return ()
    return tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))
