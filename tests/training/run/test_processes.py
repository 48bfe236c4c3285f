"""Several processes that train one network."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.phantom import draw
from training.fit import main

SMALL = [
    *("--steps", "6", "--batch-size", "4", "--patch", "32", "32", "--precision", "float32"),
    *("--network", "resunet-xs"),
]


def losses(run):
    (log,) = (run / "logs").rglob("metrics.csv")
    with log.open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file) if row["loss"]]


@pytest.mark.long
def test_two_processes_learn_like_one_with_the_double_batch(tmp_path, monkeypatch):
    monkeypatch.setattr("training.learning.trainer.STEPS_BETWEEN_LOGS", {"cpu": 1})
    data = draw(tmp_path / "data", cases=3, size=(48, 64))
    one, two = tmp_path / "one", tmp_path / "two"
    assert main([str(data), "--out", str(one), *SMALL]) == 0
    start = "import training.learning.trainer as t; t.STEPS_BETWEEN_LOGS = {'cpu': 1}; "
    start += "import training.fit as f, sys; "
    script = tmp_path / "fit.py"
    script.write_text(f"{start}sys.exit(f.main())")
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", str(script), str(data), "--out", str(two), *SMALL),
        ],
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "CUDA_VISIBLE_DEVICES": ""},
        check=True,
        timeout=280,
        stderr=subprocess.DEVNULL,
    )
    assert (two / "package" / "model.json").is_file()
    ours, theirs = losses(two), losses(one)
    assert len(ours) == len(theirs) == 6
    np.testing.assert_allclose(ours, theirs, rtol=0.02)
