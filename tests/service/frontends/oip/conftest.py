"""Triton's client, asked from without: it is not installed beside seg."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def ask_by_triton(triton_client):
    """Run a script of this folder where the client is: from what it is told to what it found."""

    def ask(script, told):
        done = subprocess.run(
            [sys.executable, str(HERE / script)],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(triton_client)},
            input=json.dumps(told),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    return ask
