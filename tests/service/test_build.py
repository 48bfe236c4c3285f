import base64
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx
import pytest
import yaml

from seg.files import sha256_of
from service.build import stage
from service.hosting.bill import bill
from service.hosting.compiled import IMPORTED_LATER, modules
from service.hosting.stripped import stripped
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
        "LICENSE",
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
    assert "useradd -M -u 1034 -g 1034 -r bentoml" in last  # and not root under that name
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
    assert "chown=bentoml" not in last
    assert "COPY --from=base-container --chown=root:root /app/.venv /app/.venv" in lines
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
    described = yaml.safe_load((tmp_path / "bentofile.yaml").read_text())
    (runtime,) = [e for e in described["python"]["packages"] if e.startswith("onnxruntime")]
    assert runtime == "onnxruntime-gpu[cuda,cudnn]>=1.22"
    environment = {each["name"]: each["value"] for each in described["envs"]}
    assert environment["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    assert environment["BENTOML_HOST"] == "0.0.0.0"
    assert "NVIDIA_VISIBLE_DEVICES" not in environment, "who starts it says which cards it gets"


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
    assert ended.returncode == 2
    assert "is no model package" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_bill_of_an_image_names_packages_and_hashes_the_model(tiny_package, tmp_path):
    status = tmp_path / "status"
    status.write_text("Package: libc6\nStatus: installed\nVersion: 2.36-9+deb12u14\n\n")
    found = {each["bom-ref"]: each for each in bill(tiny_package, status)["components"]}
    assert found["pkg:deb/debian/libc6@2.36-9%2Bdeb12u14"]["version"] == "2.36-9+deb12u14"
    starlette = importlib.metadata.version("starlette")
    assert f"pkg:pypi/starlette@{starlette}" in found
    network = found["model/network.onnx"]
    assert network["type"] == "machine-learning-model"
    assert network["hashes"][0]["content"] == sha256_of(tiny_package / "network.onnx")


def test_a_bill_is_signed_and_a_changed_one_is_told(tmp_path):
    file = tmp_path / "sbom.cdx.json"
    file.write_text("{}")

    def sign(*arguments) -> int:
        command = [sys.executable, "deploy/sign.py", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True).returncode

    assert sign("key", tmp_path / "seg.key") == 0
    assert (tmp_path / "seg.key").stat().st_mode & 0o777 == 0o600
    assert sign("key", tmp_path / "seg.key") == 1, "a key is not written over"
    assert sign("sign", tmp_path / "seg.key", file) == 0
    assert sign("verify", tmp_path / "seg.pub", file) == 0
    if shutil.which("openssl"):
        raw = tmp_path / "raw"
        raw.write_bytes(base64.b64decode((tmp_path / "sbom.cdx.json.sig").read_bytes()))
        command = ["openssl", "dgst", "-sha256", "-verify", tmp_path / "seg.pub"]
        subprocess.run([*command, "-signature", raw, file], check=True, capture_output=True)
    file.write_text("{ }")
    assert sign("verify", tmp_path / "seg.pub", file) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="modules are ELF files on Linux")
@pytest.mark.parametrize("name", ["uvloop.loop", "numcodecs.zstd", "scipy.ndimage._nd_image"])
def test_a_compiled_module_works_without_its_symbols(tmp_path, name):
    found = importlib.util.find_spec(name)
    assert found is not None
    whole = Path(found.origin).read_bytes()
    small = stripped(whole)
    assert len(small) <= len(whole)
    assert stripped(small) == small
    file = tmp_path / Path(found.origin).name
    file.write_bytes(small)
    script = (
        "import importlib.util, sys; s = importlib.util.spec_from_file_location(*sys.argv[1:]); "
        f"import {name.rpartition('.')[0]}; "
        "sys.modules.pop(sys.argv[1], None); m = importlib.util.module_from_spec(s); "
        "s.loader.exec_module(m); print(m.__file__)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, name, file], capture_output=True, text=True
    )
    assert ended.stdout.strip() == str(file), ended.stderr


def test_what_is_no_compiled_module_is_left_as_it_is():
    for content in (b"", b"\x7fELF", b"\x7fELF\x02\x01" + bytes(90), b"text" * 100):
        assert stripped(content) in (content, content[:64])
