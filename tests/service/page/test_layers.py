"""What is painted over a picture: scripts of the page, run by the Node that Playwright brings."""

import json
import subprocess

import numpy as np
from playwright._impl._driver import compute_driver_executable

from tests.service.conftest import ROOT


def of_module(name: str, expression: str):
    """What an expression gives, in which ``it`` is a module of the page."""
    node = str(compute_driver_executable()[0])
    module = (ROOT / "service/page/static" / name).as_uri()
    script = f"const it = await import({module!r}); console.log(JSON.stringify({expression}))"
    command = [node, "--input-type=module", "--eval", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


def test_a_thousand_objects_are_told_apart_also_from_those_a_row_further():
    colours = np.array(
        of_module(
            "view/layers.js", "Array.from({ length: 1000 }, (_, number) => it.hueOf(number + 1))"
        )
    )
    assert colours.max(axis=1).min() >= 150, "none is so dark that it is not seen"
    assert len({tuple(colour) for colour in colours}) == 1000
    for apart in range(1, 150):
        distance = np.abs(colours[apart:] - colours[:-apart]).max(axis=1)
        assert np.median(distance) > 30, f"objects whose numbers are {apart} apart look alike"
