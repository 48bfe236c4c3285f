"""What the README and docs/serving.md print about the service, run as printed."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.conftest import png, serving
from tests.service.routes.test_segment import blocks

ROOT = Path(__file__).parents[3]
PRINTED_URL = "http://127.0.0.1:3000"


def printed(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def server(tiny_package, tmp_path_factory):
    with serving(tiny_package, tmp_path_factory.mktemp("curl")) as client:
        yield client


@pytest.fixture
def folder(tmp_path):
    """A folder with the files that the lines name."""
    (tmp_path / "scan.tif").write_bytes(png(blocks(60, 80)))  # content says what it is
    (tmp_path / "cell.png").write_bytes(png(blocks(60, 80)))
    return tmp_path


def test_the_readme_s_curl_lines_run(server, folder):
    asking = [block for block in printed("README.md", "bash") if "curl " in block]
    lines = [
        line
        for block in asking
        for line in block.splitlines()
        if "seg serve" not in line and "runs/demo/scan.tif" not in line
    ]
    assert len([line for line in lines if "curl" in line]) >= 12
    script = 'set -euo pipefail\ncurl() { command curl -sS --fail-with-body "$@"; }\n'
    script += "\n".join(lines).replace(PRINTED_URL, str(server.base_url).rstrip("/"))
    script = re.sub(r"\bpython\b", sys.executable, script)
    run = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    written = {path.name for path in folder.iterdir()}
    assert written > {"overlay.png", "nuclei.png", "probabilities.tif", "masks.zip", "mask.nii.gz"}
    assert json.loads((folder / "openapi.json").read_text())["openapi"].startswith("3.1")
    assert "event: end" in run.stdout


def test_the_client_s_lines_run(server, folder, monkeypatch, capsys):
    (block,) = [each for each in printed("docs/serving.md", "python") if "seg.client" in each]
    monkeypatch.chdir(folder)
    code = block.replace(PRINTED_URL, str(server.base_url).rstrip("/"))
    exec(compile(code, "docs/serving.md", "exec"), {})
    assert (folder / "mask.tif").stat().st_size
    assert "done" in capsys.readouterr().out
