"""Commands read their arguments before anything that takes seconds to import."""

import subprocess
import sys
from pathlib import Path

import pytest

import training

COMMANDS = sorted(f.stem for f in Path(training.__file__).parent.glob("[!_]*.py"))
SLOW = {"torch", "lightning", "monai", "segmentation_models_pytorch", "albumentations"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_given_without_importing_what_is_slow(command):
    asked = (
        "import runpy, sys\n"
        f"sys.argv = ['{command}', '--help']\n"
        "try:\n"
        f"    runpy.run_module('training.{command}', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        f"print(sorted({SLOW} & set(sys.modules)))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", asked], check=True, capture_output=True, text=True
    ).stdout
    assert answer.startswith("usage:")
    assert answer.splitlines()[-1] == "[]"


def test_a_misspelt_option_is_told_before_anything_is_imported():
    answer = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "training.fit", "--minuets", "3"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 2
    assert "unrecognized arguments: --minuets" in answer.stderr
    assert "| torch\n" not in answer.stderr
