"""Each study on a drawn dataset, with sizes that a test can afford."""

import csv

import pytest

from data.phantom import draw
from training.studies.__main__ import main
from training.studies.carried_out import STUDIES
from training.studies.plots import as_file
from training.studies.questions import QUESTIONS
from training.studies.runs import StudyJob
from training.studies.setting import Setting
from training.studies.task import make_task

TINY = {"layers": (9,), "steps": 2, "batch_size": 2, "edge": 16, "features": 4}
OPTIONS = ["--layers", "9", "13", "--steps", "2", "--batch-size", "2", "--edge", "16",
           "--features", "4", "--seeds", "1", "--shortcuts", "none", "identity"]  # fmt: skip


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("data") / "phantom", cases=4, size=(64, 64))


@pytest.fixture(scope="module")
def written(phantom, tmp_path_factory):
    out = tmp_path_factory.mktemp("studies") / "depth"
    assert main(["depth", "--data", str(phantom), "--out", str(out), *OPTIONS]) == 0
    return out


@pytest.mark.parametrize("name", ["gradients", "lesion", "landscape", "gates"])
def test_a_study_measures_draws_and_tells(name, phantom, tmp_path, monkeypatch):
    monkeypatch.setattr("training.studies.landscape.POINTS", 3)
    monkeypatch.setattr("training.studies.lesion.DRAWS", 1)
    monkeypatch.setattr("training.studies.lesion.PATH_DRAWS", 1)
    study = STUDIES[name]
    shortcuts = QUESTIONS[name].setting["shortcuts"][:2]
    setting = Setting(data=phantom, shortcuts=shortcuts, **TINY)
    task = make_task(setting, tmp_path)
    table = [
        {**job.columns, **row}
        for job in study.jobs(setting)
        if job.seed < 2
        for row in study.measure(job, setting, task)
    ]
    assert as_file(study.draw(table), "png").startswith(b"\x89PNG")
    for shortcut in shortcuts:
        assert f"`{shortcut}`" in study.say(table)


def test_a_study_leaves_a_table_pictures_and_a_paragraph(written):
    with (written / "depth.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["network"], row["layers"]) for row in rows} == {
        (network, layers) for network in ("none", "identity") for layers in ("9", "13")
    }
    assert (written / "depth.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (written / "depth.svg").read_text()
    assert "equal steps" in (written / "depth.md").read_text()


def test_a_study_that_was_killed_does_only_what_is_left(written, phantom):
    results = {path: path.stat().st_mtime_ns for path in (written / "runs").iterdir()}
    lost = written / "runs" / f"{StudyJob('none', 13, 0).key}.json"
    before = lost.read_bytes()
    lost.unlink()
    assert main(["depth", "--data", str(phantom), "--out", str(written), *OPTIONS]) == 0
    assert lost.read_bytes() == before
    for path, written_at in results.items():
        assert (path.stat().st_mtime_ns == written_at) == (path != lost)


def test_other_sizes_do_not_mix_with_an_earlier_study(written, phantom, caplog):
    options = ["depth", "--data", str(phantom), "--out", str(written), *OPTIONS, "--steps", "3"]
    assert main(options) == 2
    assert "holds a study of other sizes" in caplog.text


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (["--layers", "20"], "the nearest is 21"),
        (["--shortcuts", "identiy"], "did you mean identity"),
        (["--steps", "0"], "--steps: Input should be greater than or equal to 1"),
    ],
)
def test_an_impossible_setting_is_one_sentence(option, sentence, phantom, tmp_path, caplog):
    options = ["depth", "--data", str(phantom), "--out", str(tmp_path / "x"), *option]
    assert main(options) == 2
    assert sentence in caplog.text
    assert not (tmp_path / "x").exists()
