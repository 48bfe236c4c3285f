import importlib.util
import json
import os
import subprocess
import sys
import tomllib

import httpx
import pytest
import yaml

from service.build import stage
from service.hosting.compiled import IMPORTED_LATER, modules
from tests.service.conftest import ROOT, png, served_by, until_status


def requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["serve"]]


@pytest.fixture(scope="module")
def bento(tiny_package, tmp_path_factory):
    """Folder of a built bento, and the environment that knows its tag."""
    home = tmp_path_factory.mktemp("bentoml")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SEG_")},
        "BENTOML_HOME": str(home),
        "BENTOML_DO_NOT_TRACK": "True",
        "UV_OFFLINE": "1",
        "PIP_NO_INDEX": "1",
    }
    built = subprocess.run(
        [sys.executable, "-m", "service.build", str(tiny_package)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    name, _, version = built.stdout.strip().partition(":")
    return home / "bentos" / name / version, environment


def of_an_image() -> list[str]:
    """The project's requirements, with the onnxruntime that needs no CUDA."""
    return [each for each in requirements() if not each.startswith("onnxruntime")] + [
        "onnxruntime>=1.22"
    ]


def test_the_requirements_are_those_of_the_project():
    bentofile = yaml.safe_load((ROOT / "bentofile.yaml").read_text())
    assert sorted(bentofile["python"]["packages"]) == sorted(of_an_image())
    assert bentofile["python"]["lock_packages"] is False


def test_a_bento_holds_the_package_the_code_and_nothing_else(bento, tiny_package):
    folder, _ = bento
    files = {path.relative_to(folder / "src") for path in (folder / "src").rglob("*")}
    assert {path.parts[0] for path in files} == {
        "seg",
        "service",
        "package",
        "bentofile.yaml",
        "constraints.txt",
    }
    assert not [path for path in files if "__pycache__" in path.parts]
    packed = {path.name: path.read_bytes() for path in (folder / "src" / "package").iterdir()}
    assert packed == {path.name: path.read_bytes() for path in tiny_package.iterdir()}
    info = yaml.safe_load((folder / "bento.yaml").read_text())
    assert info["labels"] == {"model": "nearest-level", "model_version": "1"}


def test_an_image_ends_with_a_stage_that_only_serves(bento):
    folder, _ = bento
    dockerfile = (folder / "env" / "docker" / "Dockerfile").read_text()
    first, last = dockerfile.split("\nFROM python:3.11-slim\n")
    assert "\nFROM python:3.11-slim AS base-container\n" in first
    assert "apt-get" not in dockerfile
    lines = last.splitlines()
    assert [line for line in lines if line.startswith("USER")] == ["USER bentoml"]
    assert [line for line in lines if " install" in line] == [
        "    install -d -o bentoml -g bentoml -m 700 /jobs"
    ]
    assert "pip uninstall" in last
    assert "ENV BENTOML_HOST=0.0.0.0" in lines
    assert "ENV BENTOML_DO_NOT_TRACK=True" in lines
    assert " BENTOML_HOME=/tmp/bentoml\n" in last
    (written,) = [line for line in lines if line.startswith("VOLUME")]
    assert written == "VOLUME /jobs"
    required = (folder / "env" / "python" / "requirements.txt").read_text()
    wanted = {line.replace("'", '"') for line in of_an_image()}
    assert set(required.splitlines()) == wanted | {"--constraint constraints.txt"}
    assert "torch" not in required
    pinned = (folder / "env" / "python" / "constraints.txt").read_bytes()
    assert pinned == (ROOT / "constraints.txt").read_bytes()


def test_containerize_writes_the_same_last_stage_up_to_the_code(bento, tmp_path):
    folder, environment = bento
    target = tmp_path / "Dockerfile"
    script = (
        "import sys, bentoml; bentoml.container.get_containerfile("
        "sys.argv[1], output_path=sys.argv[2], enable_buildkit=False)"
    )
    tag = f"{folder.parent.name}:{folder.name}"
    subprocess.run([sys.executable, "-c", script, tag, target], env=environment, check=True)
    ours = (folder / "env" / "docker" / "Dockerfile").read_text()
    theirs = target.read_text().partition("\nFROM python:3.11-slim\n")[2]
    assert theirs
    last = ours.partition("\nFROM python:3.11-slim\n")[2]
    (copied,) = [line for line in theirs.splitlines() if line.startswith("COPY --chown")]
    before = theirs.partition(copied)[0]
    assert last.split()[: len(before.split())] == before.split()


def test_code_and_model_belong_to_root_and_one_port_is_exposed(bento):
    folder, _ = bento
    last = (folder / "env/docker/Dockerfile").read_text().partition("\nFROM python:3.11-slim\n")[2]
    lines = last.splitlines()
    assert "chown" not in last
    assert "COPY . ./" in lines
    assert [line for line in lines if line.startswith("EXPOSE")] == ["EXPOSE 3000"]
    assert lines.index("COPY . ./") < lines.index("USER bentoml")
    for path in (folder, *folder.rglob("*")):  # another user must be able to read it
        assert path.stat().st_mode & 0o004, path
        assert not path.is_dir() or path.stat().st_mode & 0o001, path


def test_the_bytecode_of_an_image_is_of_all_that_serving_imports():
    found = set(modules())
    assert {"service.app", "service.jobs.runner", "seg.images.dicom.images"} <= found
    for name in IMPORTED_LATER:
        assert importlib.util.find_spec(name), name


def test_an_image_is_built_from_the_bentos_own_dockerfile(tiny_package, tmp_path):
    builder = tmp_path / "bin" / "docker"
    builder.parent.mkdir()
    builder.write_text('#!/bin/sh\necho "$@" > "$TOLD"\n')
    builder.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{builder.parent}:{os.environ['PATH']}",
        "TOLD": str(tmp_path / "told"),
        "BENTOML_HOME": str(tmp_path / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    command = [sys.executable, "-m", "service.build", str(tiny_package), "--image", "segmenter:1"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    told = (tmp_path / "told").read_text().split()
    assert told[0] == "build"
    assert told[-3:-1] == ["--tag", "segmenter:1"]
    assert told[told.index("--file") + 1] == f"{told[-1]}/env/docker/Dockerfile"


def test_an_image_for_a_gpu_has_cuda(tiny_package, tmp_path):
    stage(tiny_package, tmp_path, gpu=True)
    packages = yaml.safe_load((tmp_path / "bentofile.yaml").read_text())["python"]["packages"]
    (runtime,) = [each for each in packages if each.startswith("onnxruntime")]
    assert runtime == "onnxruntime-gpu[cuda,cudnn]>=1.22"


def health_command(folder) -> list[str]:
    dockerfile = (folder / "env" / "docker" / "Dockerfile").read_text().replace("\\\n", " ")
    (line,) = [line for line in dockerfile.splitlines() if line.startswith("HEALTHCHECK")]
    return json.loads(line.partition("CMD ")[2])


def test_a_bento_serves_its_own_package(bento, tmp_path):
    folder, environment = bento
    with served_by([str(folder)], environment, tmp_path, tmp_path / "log.txt") as client:
        until_status(client, "/readyz", 200)
        assert client.get("/model").json()["name"] == "nearest-level"
        assert client.get("/page/niivue/niivue.js").status_code == httpx.codes.OK
        answer = client.post("/segment", content=png([[100] * 40] * 40))
        assert answer.status_code == httpx.codes.OK
        python, *arguments = health_command(folder)
        assert python == "python"
        for port, healthy in ((client.base_url.port, True), (9, False)):
            asked = subprocess.run(
                [sys.executable, *arguments],
                env={**environment, "BENTOML_PORT": str(port)},
                stderr=subprocess.DEVNULL,
            )
            assert (asked.returncode == 0) == healthy


def test_what_is_no_package_is_not_built(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "service.build", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert "is no model package" in ended.stderr
    assert "Traceback" not in ended.stderr
