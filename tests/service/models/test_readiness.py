import gc
import gzip
import io
import shutil
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import anyio
import httpx
import nibabel
import numpy as np
import pytest
from starlette.testclient import TestClient

from seg.errors import ConfigError
from seg.model_package import GoldenSamples, ModelPackage, write_card, write_golden
from service.app import create_app
from service.models.registry import ModelRegistry
from service.observability.metrics import Metrics
from service.settings import Settings
from tests.packages import write_package
from tests.seg.images.dicom.files import content_of, series_of
from tests.service.conftest import ROOT, png, served, until_status
from tests.service.routes.test_errors import problem

IMAGE = png([[100] * 40] * 40)


def model_of(package, **settings) -> ModelRegistry:
    return ModelRegistry(Settings(package=package, **settings), Metrics())


@pytest.fixture
def loaded(tiny_package):
    """Makes loaded models with chosen settings."""
    models = []

    def load(package=tiny_package, **settings) -> ModelRegistry:
        model = model_of(package, **settings)
        models.append(model)
        model.start()
        model.wait()
        return model

    yield load
    for model in models:
        model.close()


def test_a_service_is_alive_before_it_is_ready(tiny_package):
    client = TestClient(create_app(model_of(tiny_package)))
    assert client.get("/livez").status_code == 200
    assert "being loaded" in problem(client.get("/readyz"), 503)
    assert "being loaded" in problem(client.post("/segment", content=IMAGE), 503)
    assert "seg_ready 0.0" in client.get("/metrics").text


def test_a_loaded_model_is_ready(loaded):
    client = TestClient(create_app(loaded()))
    assert client.get("/readyz").status_code == 200
    assert "seg_ready 1.0" in client.get("/metrics").text


@pytest.mark.parametrize("provider", ["auto", "cpu"])
def test_a_model_whose_golden_samples_disagree_never_gets_ready(
    tiny_package, tmp_path, loaded, provider
):
    package = shutil.copytree(tiny_package, tmp_path / "package")
    loaded_package = ModelPackage.load(package)
    golden = loaded_package.golden()
    sha256 = write_golden(package, GoldenSamples(golden.patches, np.roll(golden.logits, 1, axis=1)))
    write_card(package, loaded_package.card.model_copy(update={"golden_sha256": sha256}))
    client = TestClient(create_app(loaded(package, provider=provider)))
    assert "disagrees with the package's golden samples" in problem(client.get("/readyz"), 503)
    assert "disagrees" in problem(client.post("/segment", content=IMAGE), 503)
    assert client.get("/livez").status_code == 200


def test_an_altered_package_is_told_as_such(tiny_package, tmp_path, loaded):
    package = shutil.copytree(tiny_package, tmp_path / "package")
    with (package / "network.onnx").open("ab") as file:
        file.write(b"x")
    client = TestClient(create_app(loaded(package)))
    assert "changed after the export" in problem(client.get("/readyz"), 503)


def test_a_volume_is_answered_as_nifti_unless_asked_otherwise(tiny_package_3d, loaded):
    client = TestClient(create_app(loaded(tiny_package_3d)))
    affine = np.diag([1.5, 1.5, 3.0, 1.0])
    volume = nibabel.Nifti1Image(np.full((20, 30, 12), 128, np.int16), affine)
    answer = client.post("/segment", files={"image": ("v.nii", volume.to_bytes())})
    assert answer.status_code == 200
    assert "nii" in answer.headers["Content-Disposition"]
    mask = nibabel.Nifti1Image.from_bytes(gzip.decompress(answer.content))
    assert mask.shape == (20, 30, 12)
    np.testing.assert_allclose(mask.affine, affine)
    assert set(np.unique(np.asarray(mask.dataobj)[2:-2, 2:-2, 2:-2])) == {1}
    assert "png" not in client.get("/model").json()["runtime"]["formats"]
    assert "volume is needed" in problem(client.post("/segment", content=IMAGE), 422)


def test_a_zipped_dicom_series_is_a_volume(tiny_package_3d, loaded):
    client = TestClient(create_app(loaded(tiny_package_3d)))
    affine = np.diag([1.5, 1.25, 3.0, 1.0])
    slices = series_of(np.full((12, 30, 20), 128, np.int16), affine)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        for number, dataset in enumerate(slices[::-1]):
            files.writestr(f"IM{number}", content_of(dataset))
    answer = client.post("/segment", content=archive.getvalue())
    assert answer.status_code == 200
    mask = nibabel.Nifti1Image.from_bytes(gzip.decompress(answer.content))
    assert mask.shape == (20, 30, 12)
    np.testing.assert_allclose(mask.affine, np.diag([-1, -1, 1, 1]) @ affine)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        for number in (0, 1, 2, 5, 6):
            files.writestr(f"IM{number}", content_of(slices[number]))
    refused = client.post("/segment", content=archive.getvalue())
    assert "lacks slices" in problem(refused, 422)


def test_a_full_service_sends_the_next_away_at_once(loaded):
    app = create_app(loaded(max_requests=1))

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        answers: list[httpx.Response] = []
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:

            async def post() -> None:
                answers.append(await client.post("/segment", content=IMAGE))

            async with anyio.create_task_group() as group:
                for _ in range(4):
                    group.start_soon(post)
        return answers

    answers = anyio.run(ask)
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(refused) == 3
    for answer in refused:
        assert "already" in problem(answer, 503)
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert TestClient(app).post("/segment", content=IMAGE).status_code == 200


def test_a_segmentation_that_takes_too_long_is_stopped(loaded):
    model = loaded(timeout_s=0.05)
    client = TestClient(create_app(model))
    answer = client.post("/segment", content=png(np.zeros((3000, 3000))))
    assert "0.05 s" in problem(answer, 504)
    assert sum(m.scheduler.waiting for m in model.memory.models()) == 0


def test_what_was_stopped_keeps_no_memory(loaded):
    model = loaded(timeout_s=1)
    gc.disable()
    try:
        client = TestClient(create_app(model))
        assert client.post("/segment", content=png(np.zeros((5000, 3000)))).status_code == 504
        assert model.decoder.budget.used == 0
    finally:
        gc.enable()


def test_what_is_made_of_an_image_has_its_share_of_the_room_for_decoding(loaded):
    client = TestClient(create_app(loaded(max_decoding_mb=60)))
    answer = client.post("/segment", content=png(np.zeros((3000, 3000))))
    assert "raise SEG_MAX_DECODING_MB" in problem(answer, 413)
    assert client.post("/segment", content=IMAGE).status_code == 200


def test_a_picture_that_takes_too_long_is_stopped(loaded):
    client = TestClient(create_app(loaded(timeout_s=0.01)))
    answer = client.post("/picture", content=png(np.zeros((3000, 3000))))
    assert "0.01 s" in problem(answer, 504)


def test_a_full_disk_is_told_and_passes(loaded, monkeypatch):
    client = TestClient(create_app(loaded()))
    with monkeypatch.context() as full:
        full.setattr(
            "service.requests.uploads.tempfile.SpooledTemporaryFile",
            lambda _: open("/dev/full", "wb+", buffering=0),  # noqa: PTH123, SIM115
        )
        answer = client.post("/segment", content=IMAGE)
    assert "disk is full" in problem(answer, 503)
    assert answer.headers["Retry-After"]
    assert client.post("/segment", content=IMAGE).status_code == 200
    assert 'seg_errors_total{kind="disk_full",route="/segment"} 1.0' in client.get("/metrics").text


def test_settings_come_from_the_environment():
    settings = Settings.from_environment(
        {"SEG_PACKAGE": "/p", "SEG_MAX_BODY_MB": "0.5", "SEG_THREADS": "", "PATH": "/bin"}
    )
    assert str(settings.package) == "/p"
    assert settings.max_body_bytes == 500_000
    assert settings.threads is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("SEG_BATCHING", "tpu"), ("SEG_MAX_BODY_MB", "-1"), ("SEG_MAX_REQUESTS", "many")],
)
def test_a_setting_that_cannot_be_is_named(name, value):
    with pytest.raises(ConfigError, match=f"{name} cannot be '{value}'"):
        Settings.from_environment({name: value})


def test_serving_without_a_package_says_so_and_ends(tmp_path):
    command = [sys.executable, "-m", "bentoml", "serve", "--port", "0"]
    environment = {"SEG_PACKAGE": str(tmp_path), "BENTOML_HOME": str(tmp_path / "bentoml")}
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode != 0
    assert "is no model package" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_the_service_imports_no_torch():
    modules = "service.bento, service.app, service.models.registry, service.build"
    script = f"import sys, {modules}; print([m for m in sys.modules if m.split('.')[0] == 'torch'])"
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "[]"


def test_a_service_that_is_stopped_finishes_what_it_has_begun(tmp_path):
    body = png(np.zeros((250, 250)))
    package = write_package(tmp_path / "package", slow=True)
    with ThreadPoolExecutor(1) as pool:
        with served(package, tmp_path / "log.txt") as client:
            until_status(client, "/readyz", 200)
            url = client.base_url.join("/segment")
            answer = pool.submit(httpx.post, url, content=body, timeout=60)
            while "seg_requests_active 0.0" in client.get("/metrics").text:
                assert not answer.done(), "it was over before anybody looked"
            stopped = time.monotonic()
        assert time.monotonic() - stopped < 30
    assert answer.result().status_code == 200


@pytest.mark.parametrize("mode", ["gpu", "cpu"])
def test_a_network_that_mixes_the_patches_of_a_run_answers_no_run_of_several(
    loaded, tmp_path, mode
):
    package = write_package(tmp_path / "mixing", mixing=True)
    client = TestClient(create_app(loaded(package, provider="cpu", batching=mode)))
    ready = client.get("/readyz")
    if mode == "cpu":  # one patch at a time
        assert ready.status_code == 200
        return
    assert "mixes its patches" in problem(ready, 503)
