"""Fixtures that several rooms share."""

from pathlib import Path

import pytest

from tests.packages import write_package


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """What is found out about this machine is not kept in the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_package(tmp_path_factory) -> Path:
    """A model package for 2D images of one channel."""
    return write_package(tmp_path_factory.mktemp("tiny") / "package")


@pytest.fixture(scope="session")
def tiny_package_3d(tmp_path_factory) -> Path:
    """A model package for volumes of one channel."""
    return write_package(tmp_path_factory.mktemp("tiny3d") / "package", patch=(8, 16, 16))
