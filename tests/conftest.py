"""Fixtures that several rooms share."""

import functools
import random
import re
import runpy
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from tests.packages import write_package

# a machine that is busy with something else is no fault of the code, and what one change is held
# against is what the next one is held against: other examples each time are for make test-long
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("others", deadline=None)
settings.load_profile("same")


@pytest.fixture(autouse=True)
def same_numbers():
    """Weights and images that a test draws without a seed of its own are the same each time."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - for libraries that draw from it
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """What is found out about this machine is not kept in the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def no_bytecode_with_checks():
    """What runs a module as a command would keep its bytecode with the checks of shapes in it.

    jaxtyping keeps what is imported under a name of its own; a command is no import, and whoever
    called it afterwards, without the checks, would get a KeyError.
    """
    run_module = runpy.run_module

    def leaving_nothing(*args, **kwargs):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "dont_write_bytecode", True)
            return run_module(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runpy, "run_module", leaving_nothing)
        yield


@pytest.fixture(autouse=True, scope="session")
def operators_listed_once():
    """torch's exporter reads the signatures of all operators anew for each file, for a second."""
    if "torch" not in sys.modules:
        yield
        return
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    listed = staticmethod(functools.cache(ONNXRegistry.from_torchlib))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", listed)
        yield


@pytest.fixture(scope="session")
def tiny_package(tmp_path_factory) -> Path:
    """A model package for 2D images of one channel."""
    return write_package(tmp_path_factory.mktemp("tiny") / "package")


@pytest.fixture(scope="session")
def tiny_package_3d(tmp_path_factory) -> Path:
    """A model package for volumes of one channel."""
    return write_package(tmp_path_factory.mktemp("tiny3d") / "package", patch=(8, 16, 16))


LACKING = re.compile(r"(?:Skipped: )?no (?P<program>.{1,40}?) here\b(?:: )?(?P<remedy>.{0,120})")
"""How a test that is skipped says which program it needs."""


def pytest_terminal_summary(terminalreporter):
    """Say at the end what did not run for lack of a program."""
    lacking = Counter()
    for report in terminalreporter.stats.get("skipped", ()):
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        if match := LACKING.match(str(reason)):
            lacking[
                match["program"], match["remedy"].splitlines()[0] if match["remedy"] else ""
            ] += 1
    if lacking:
        terminalreporter.section("did not run for lack of a program")
        for (program, remedy), count in sorted(lacking.items()):
            how = f" ({remedy})" if remedy else ""
            terminalreporter.write_line(f"{program}{how}: {count}")
