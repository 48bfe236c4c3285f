import pytest

from seg.errors import ConfigError
from seg.model_package import Channel
from tests.training.run.test_plan import fingerprint
from training.learning.tracking import loggers
from training.planning.rules import make_plan

pytest.importorskip("mlflow", reason="no mlflow here: pip install mlflow")
pytest.importorskip("wandb", reason="no wandb here: pip install wandb")


def tracked(by, folder):
    plan = make_plan(
        fingerprint((64, 64)), (Channel(name="a"),), "cpu", minutes=1, dataset="cells",
        data="cells", track=by,
    )  # fmt: skip
    return loggers(plan, folder)[-1]


def test_without_a_server_mlflow_s_files_lie_in_the_run_s_folder(tmp_path, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_ALLOW_FILE_STORE"):
        monkeypatch.delenv(name, raising=False)
    tracker = tracked("mlflow", tmp_path)
    tracker.log_metrics({"loss": 0.5}, 3)
    (logged,) = (tmp_path / "mlruns").rglob("metrics/loss")
    assert logged.read_text().split()[1:] == ["0.5", "3"]
    assert next((tmp_path / "mlruns").rglob("params/network")).read_text()


@pytest.mark.long
def test_wandb_s_files_lie_in_the_run_s_folder_when_it_is_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    tracker = tracked("wandb", tmp_path)
    tracker.log_metrics({"loss": 0.5}, 3)
    tracker.experiment.finish()
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))


def test_a_server_that_does_not_answer_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ConfigError, match="mlflow does not take the run"):
        tracked("mlflow", tmp_path)
