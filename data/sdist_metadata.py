"""A build backend that builds nothing: it answers pip with the metadata the sdist already states.

``pip download`` asks the build backend of an sdist for metadata and so runs the package's
``setup.py``. ``data.packages`` puts a copy of this file where pip looks for ``setuptools``: pip
gets the name and version from ``PKG-INFO``, and no code of the package runs.
"""

import re
import shutil
from email.parser import Parser
from pathlib import Path
from types import SimpleNamespace


def get_requires_for_build_wheel(config_settings: object = None) -> list[str]:
    """No requirements: nothing is built."""
    return []


def prepare_metadata_for_build_wheel(
    metadata_directory: str, config_settings: object = None
) -> str:
    """Copy ``PKG-INFO`` of the unpacked sdist, pip's working directory, as the metadata."""
    stated = Parser().parsestr(Path("PKG-INFO").read_text(encoding="utf-8"))
    name = re.sub(r"[-_.]+", "_", stated["Name"]).lower()
    folder = Path(metadata_directory) / f"{name}-{stated['Version']}.dist-info"
    folder.mkdir()
    shutil.copy("PKG-INFO", folder / "METADATA")
    return folder.name


__legacy__ = SimpleNamespace(
    get_requires_for_build_wheel=get_requires_for_build_wheel,
    prepare_metadata_for_build_wheel=prepare_metadata_for_build_wheel,
)
