"""``deploy/install.py``: pip's settings hold for uv too, and pip is there where uv is not."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "deploy" / "install.py"


@pytest.fixture(scope="module")
def install():
    specification = importlib.util.spec_from_file_location("install", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    """A folder with one package, ``greeting``, and nothing else."""
    folder = tmp_path_factory.mktemp("wheels")
    about = "greeting-1.0.dist-info"
    with zipfile.ZipFile(folder / "greeting-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("greeting.py", "WORDS = 'good morning'\n")
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", "")
    return folder


@pytest.mark.parametrize(
    ("setting", "value", "variable", "told"),
    [
        ("index-url", "https://mirror.hospital/simple", "UV_DEFAULT_INDEX", None),
        ("extra-index-url", "\nhttps://a/simple\nhttps://b/simple", "UV_INDEX", "https://a/simple https://b/simple"),
        ("find-links", "/wheels /more", "UV_FIND_LINKS", "/wheels,/more"),
        ("cert", "/etc/ssl/hospital.pem", "SSL_CERT_FILE", None),
        ("proxy", "http://proxy:3128", "ALL_PROXY", None),
        ("trusted-host", "mirror.hospital", "UV_INSECURE_HOST", None),
    ],
)  # fmt: skip
def test_a_setting_of_pip_is_told_to_uv(install, setting, value, variable, told):
    assert install.said_to_uv({setting: value})[variable] == (told or value)


def test_all_indexes_count_alike_as_they_do_for_pip(install):
    assert install.said_to_uv({})["UV_INDEX_STRATEGY"] == "unsafe-best-match"


@pytest.mark.parametrize("setting", ["require-hashes", "only-binary", "a-setting-of-tomorrow"])
def test_a_setting_that_uv_has_no_word_for_leaves_it_to_pip(install, setting):
    assert install.said_to_uv({"retries": "3", setting: "1"}) == setting


def test_variables_count_more_than_files_as_they_do_for_pip(install, tmp_path, monkeypatch):
    (tmp_path / "pip.conf").write_text("[global]\ntimeout = 7\nproxy = http://a:1\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_PROXY", "http://b:2")
    settings = install.pip_settings()
    assert (settings["timeout"], settings["proxy"]) == ("7", "http://b:2")


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({}, "uv==[0-9.]+ cannot be had"),
        ({"PIP_ONLY_BINARY": ":all:"}, "configured with only-binary"),
    ],
)
def test_pip_installs_where_uv_cannot_be_had_or_asked(tmp_path, wheels, setting, reason):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    environment = {
        "PATH": os.environ["PATH"],
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": str(wheels),
        "PIP_INDEX_URL": tmp_path.as_uri(),
        **setting,
    }
    done = subprocess.run(
        [python, SCRIPT, "greeting"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert re.search(f"installing with pip, since .*{reason}", done.stdout)
    said = subprocess.run(
        [python, "-c", "import greeting; print(greeting.WORDS)"], capture_output=True
    )
    assert said.stdout == b"good morning\n"


def test_what_is_pinned_runs_on_the_oldest_python_that_is_promised():
    promised = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    oldest = f"{promised.removeprefix('>=')}.0"
    refusing = []
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, _, version = line.partition("==")
        try:
            about = metadata(name)
        except PackageNotFoundError:  # of another system, or serving alone has it
            continue
        if about["Version"] == version and oldest not in SpecifierSet(
            about.get("Requires-Python") or ""
        ):
            refusing.append(f"{line}: {about['Requires-Python']}")
    assert not refusing
