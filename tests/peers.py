"""Other people's programs, installed apart: what they need clashes with what we need."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def installed_apart(folder: Path, requirements: Path) -> Path:
    """A folder that holds what a file of pins names; the test is skipped where no registry is."""
    command = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", sys.executable]
    command += ["--target", str(folder), "-r", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no {requirements.stem} here: {done.stderr[-300:]}")
    return folder


@contextmanager
def ray_cluster() -> Iterator[None]:
    """Two cores of this machine for one worker each, which stand back for nobody.

    Ray makes its workers nicer than all else, so beside other tests they would hardly run.
    """
    ray = pytest.importorskip("ray", reason="no ray here: pip install ray")
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        _system_config={"worker_niceness": 0},
    )
    try:
        yield
    finally:
        ray.shutdown()
