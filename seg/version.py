"""Which version of seg runs."""

from importlib.metadata import PackageNotFoundError, version


def version_of(distribution: str = "seg") -> str:
    """An installed version; ``unknown`` where it is not installed.

    A bento carries seg's sources, and nobody installs them there.
    """
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
