"""Packages for BioImage.IO, judged by the test that the zoo itself runs."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from seg.transforms import Normalisation, Preprocessing
from tests.packages import write_package
from tests.peers import installed_apart
from training.export import main as export

RULES = {
    "zscore": Normalisation(kind="zscore"),
    "percentile": Normalisation(kind="percentile"),
    "minmax": Normalisation(kind="minmax"),
    "rescale": Normalisation(kind="rescale", low=20, high=220),
    "clip_zscore": Normalisation(kind="clip_zscore", low=-100, high=300, mean=40, std=80),
    "reference": Normalisation(
        kind="reference",
        low=10,
        high=200,
        mean=90,
        std=30,
        scale={"bottom": 5, "middle": (40, 120), "top": 220, "median": 80, "spread": 15},
    ),
}
SECOND = Normalisation(kind="clip_zscore", low=0, high=900, mean=400, std=200)
"""Of a second channel, clipped elsewhere."""


@pytest.fixture(scope="module")
def zoo(tmp_path_factory) -> Path:
    """A folder that holds BioImage.IO's programs and what they need."""
    return installed_apart(
        tmp_path_factory.mktemp("bioimageio"), Path(__file__).parent / "bioimageio.txt"
    )


ASK = """
import sys
from bioimageio.core import test_model
for path in sys.argv[1:]:
    summary = test_model(path, weight_format="onnx")
    if summary.status != "passed":
        print(path, summary.format())
        sys.exit(1)
    print(path, summary.status)
"""


@pytest.mark.network
def test_the_zoos_own_test_passes_whatever_the_normalisation(zoo, tmp_path):
    exported = []
    for kind, rule in RULES.items():
        channels = 2 if kind in ("zscore", "reference") else 1
        rules = (rule, SECOND) if kind == "reference" else (rule,) * channels
        fields = {"preprocessing": Preprocessing(normalisation=rules).model_dump()}
        patch = (8, 16, 16) if kind == "clip_zscore" else (32, 32)
        task = "regions" if kind == "minmax" else "exclusive"
        package = write_package(
            tmp_path / kind, patch=patch, channels=channels, task=task, **fields
        )
        out = tmp_path / f"{kind}-out"
        assert export([str(package), "-o", str(out), "--to", "bioimageio"]) == 0
        exported.append(str(out / "rdf.yaml"))
    exported.append(str(next((tmp_path / "zscore-out").glob("*.zip"))))
    done = subprocess.run(
        [sys.executable, "-c", ASK, *exported],
        env={**os.environ, "PYTHONPATH": str(zoo), "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count("rdf.yaml") == len(RULES)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"preprocessing": {"spacing": (1, 1), "normalisation": [{}]}}, "resampling"),
        ({"preprocessing": {"convention": "nnunet", "normalisation": [{}]}}, "nnunet"),
        ({"objects": True}, "objects"),
    ],
)
def test_what_the_format_has_no_words_for_is_refused_by_name(tmp_path, capsys, fields, says):
    package = write_package(tmp_path / "package", **fields)
    assert export([str(package), "-o", str(tmp_path / "out"), "--to", "bioimageio"]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_zip_file_holds_the_whole_folder(tmp_path):
    package = write_package(tmp_path / "package")
    assert export([str(package), "-o", str(tmp_path / "out"), "--to", "bioimageio"]) == 0
    (archive,) = (tmp_path / "out").glob("*.zip")
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert set(zipfile.ZipFile(archive).namelist()) == names - {archive.name}
    assert "## Validation" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
