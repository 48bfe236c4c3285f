"""Which version of seg runs, and how what it lacks is installed."""

from importlib.metadata import PackageNotFoundError, version

VERSION = "1.0.0"
"""Of seg: the one place that tells it. A bento carries the sources, and nobody installs them."""
DISTRIBUTION = "resunet-seg"
"""The name of the wheel; ``seg`` in the registry is somebody else's."""


def version_of(distribution: str) -> str:
    """An installed version; ``unknown`` where there is none. seg's own is told by its sources."""
    if distribution in ("seg", DISTRIBUTION):
        return VERSION
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"


def installed_with(extra: str) -> str:
    """The command that installs an extra, in a clone and elsewhere."""
    return (
        f"pip install --editable '.[{extra}]' in a clone of seg, or "
        f"pip install '{DISTRIBUTION}[{extra}]'"
    )
