"""Fixtures that several rooms share."""

from pathlib import Path

import pytest

from tests.packages import write_package


@pytest.fixture(scope="session")
def tiny_package(tmp_path_factory) -> Path:
    """A model package for 2D images of one channel."""
    return write_package(tmp_path_factory.mktemp("tiny") / "package")


@pytest.fixture(scope="session")
def tiny_package_3d(tmp_path_factory) -> Path:
    """A model package for volumes of one channel."""
    return write_package(tmp_path_factory.mktemp("tiny3d") / "package", patch=(8, 16, 16))
