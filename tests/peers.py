"""Other people's programs, installed apart: what they need clashes with what we need."""

import subprocess
import sys
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
