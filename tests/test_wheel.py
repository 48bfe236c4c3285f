"""What lies in the wheel: the library alone, which works without the folders beside it."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import seg

ROOT = Path(seg.__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    for package in ("seg", "training", "service", "data"):
        (source / package).symlink_to(ROOT / package)
    command = [sys.executable, "-c", "import setuptools.build_meta as b; b.build_wheel('..')"]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def run(wheel, *words):
    script = f"import sys; sys.path.insert(0, {str(wheel)!r}); from runpy import run_module; "
    script += f"sys.argv = {list(words)!r}; run_module(sys.argv[0], run_name='__main__')"
    # -S: no editable install that would find the folders of the clone
    paths = [p for p in sys.path if "site-packages" in p]
    script = f"import sys; sys.path += {paths!r}; " + script
    return subprocess.run(
        [sys.executable, "-S", "-P", "-c", script], cwd=wheel, capture_output=True, text=True
    )


def test_a_wheel_has_one_package_that_meets_nobody_elses(wheel):
    tops = {path.name for path in wheel.iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {"seg"}
    assert (wheel / "seg" / "py.typed").is_file()
    assert [*wheel.glob("*.dist-info/licenses/LICENSE")]


@pytest.mark.parametrize("command", ["seg.predict", "seg.client", "seg.networks", "seg.verbs"])
def test_what_a_wheel_has_starts_without_the_clone(wheel, command):
    done = run(wheel, command, "--help")
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


def test_a_wheel_says_that_training_is_in_the_clone(wheel):
    done = run(wheel, "seg.verbs", "fit", "dataset")
    assert done.returncode == 2
    assert "clone the repository" in done.stderr
