"""Each study on a drawn dataset, with sizes that a test can afford."""

import csv
import shutil

import pytest

from data.phantom import draw
from seg.errors import ConfigError
from training.studies.__main__ import main
from training.studies.arms import by_shortcut
from training.studies.carried_out import STUDIES
from training.studies.effects import encoders
from training.studies.effects.thousand import Named
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


@pytest.fixture(scope="module", autouse=True)
def _one_process():
    """To start another takes longer than all its runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.studies.runs.cores", lambda: 1)
        yield


@pytest.fixture(scope="module")
def written(phantom, tmp_path_factory):
    out = tmp_path_factory.mktemp("studies") / "depth"
    assert main(["depth", "--data", str(phantom), "--out", str(out), *OPTIONS]) == 0
    return out


@pytest.mark.parametrize(
    "name", ["gradients", "vanishing", "transformer", "lesion", "landscape", "gates"]
)
def test_a_study_measures_draws_and_tells(name, phantom, tmp_path, monkeypatch):
    monkeypatch.setattr("training.studies.effects.landscape.POINTS", 3)
    monkeypatch.setattr("training.studies.effects.landscape.NEAR", 1.0)
    monkeypatch.setattr("training.studies.effects.lesion.DRAWS", 1)
    monkeypatch.setattr("training.studies.effects.lesion.PATH_DRAWS", 1)
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
    told = study.say(table)
    for row in table:
        assert f"`{row['network']}`" in told


def test_networks_of_many_layers_are_trained_and_told(phantom, tmp_path, monkeypatch):
    plain = Named("plain-164", "none", preset="preact-164")
    monkeypatch.setattr("training.studies.effects.thousand.NETWORKS", {"none": (plain, 164)})
    study = STUDIES["thousand"]
    setting = Setting(data=phantom, shortcuts=("none",), **{**TINY, "features": 2})
    (job, *_) = study.jobs(setting)
    rows = study.measure(job, setting, make_task(setting, tmp_path))
    assert [row["step"] for row in rows] == [2]
    told = study.say([{**job.columns, **row} for row in rows])
    assert "`plain-164`: the loss is not shown to fall" in told
    assert "one seed, no interval" in told


def test_a_deep_encoder_gets_the_steps_that_take_as_long_as_those_of_a_shallow_one(
    phantom, tmp_path, monkeypatch
):
    prices = {"resnet18": 1.0, "resnet34": 3.0}
    monkeypatch.setattr(encoders, "SHALLOW", "resnet18")
    monkeypatch.setattr(encoders, "DEEP", "resnet34")
    monkeypatch.setattr(encoders, "LAYERS", {"resnet18": 18, "resnet34": 34})
    monkeypatch.setattr(encoders, "LAST_STEPS", 1)
    monkeypatch.setattr(
        encoders,
        "seconds_a_step",
        lambda network, *_: prices["resnet34" if sum(network.config.blocks) > 8 else "resnet18"],
    )
    setting = Setting(data=phantom, shortcuts=("identity",), **{**TINY, "edge": 32, "steps": 3})
    task = make_task(setting, tmp_path)
    jobs = [job for job in encoders.STUDY.jobs(setting) if job.seed == 0]
    table = [
        {**job.columns, **row} for job in jobs for row in encoders.STUDY.measure(job, setting, task)
    ]
    assert [row["steps"] for row in table] == [3, 1, 3]
    assert "`resnet34, same time`: 1 steps" in encoders.STUDY.say(table)


def test_encoders_are_compared_with_one_shortcut(phantom):
    setting = Setting(data=phantom, shortcuts=("none", "identity"), **TINY)
    with pytest.raises(ConfigError, match="one shortcut, got 2"):
        encoders.STUDY.jobs(setting)


def test_a_training_that_diverges_is_told_as_that():
    rows = [
        {
            "network": "plain-1001",
            "layers": 1001,
            "seed": seed,
            "step": 10,
            "loss": loss,
            "dice": 0.0,
        }
        for seed, loss in enumerate((float("nan"), 1.2))
    ]
    told = STUDIES["thousand"].say(rows)
    assert "`plain-1001` diverges: its loss is no number any more in 1 of 2 trainings" in told


def test_a_shortcut_that_no_network_of_a_thousand_layers_has_is_named(phantom, tmp_path, caplog):
    options = ["thousand", "--data", str(phantom), "--out", str(tmp_path / "x")]
    assert main([*options, "--shortcuts", "dense"]) == 2
    assert "preact, identity, none, got 'dense'" in caplog.text


def test_depths_that_a_shortcut_cannot_have_are_left_out(phantom):
    setting = Setting(data=phantom, shortcuts=("dense", "none"), **{**TINY, "layers": (9, 57)})
    depths = {(job.arm.name, job.layers) for job in STUDIES["depth"].jobs(setting)}
    assert depths == {("dense", 9), ("none", 9), ("none", 57)}


def test_a_study_leaves_a_table_pictures_and_a_paragraph(written):
    with (written / "depth.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["network"], row["layers"]) for row in rows} == {
        (network, layers)
        for network in ("none", "identity", "identity, drawn start")
        for layers in ("9", "13")
    }
    assert (written / "depth.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (written / "depth.svg").read_text()
    assert "equal steps" in (written / "depth.md").read_text()


def test_a_study_that_was_killed_does_only_what_is_left(written, phantom):
    results = {path: path.stat().st_mtime_ns for path in (written / "runs").iterdir()}
    lost = written / "runs" / f"{StudyJob(by_shortcut('none'), 13, 0).key}.json"
    before = lost.read_bytes()
    lost.unlink()
    assert main(["depth", "--data", str(phantom), "--out", str(written), *OPTIONS]) == 0
    assert lost.read_bytes() == before
    for path, written_at in results.items():
        assert (path.stat().st_mtime_ns == written_at) == (path != lost)


@pytest.mark.long
def test_a_study_that_is_given_more_seeds_keeps_the_runs_that_it_has(written, phantom, tmp_path):
    out = shutil.copytree(written, tmp_path / "depth")
    results = {path: path.stat().st_mtime_ns for path in (out / "runs").iterdir()}
    more = [*OPTIONS, "--seeds", "2", "--layers", "9"]
    assert main(["depth", "--data", str(phantom), "--out", str(out), *more]) == 0
    assert all(path.stat().st_mtime_ns == written_at for path, written_at in results.items())
    rows = list(csv.DictReader((out / "depth.csv").open()))
    assert {(row["layers"], row["seed"]) for row in rows} == {("9", "0"), ("9", "1")}


def test_other_sizes_do_not_mix_with_an_earlier_study(written, phantom, caplog):
    options = ["depth", "--data", str(phantom), "--out", str(written), *OPTIONS, "--steps", "3"]
    assert main(options) == 2
    assert "holds a study of other sizes" in caplog.text


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (["--layers", "20"], "the nearest is 21"),
        (["--shortcuts", "identiy"], "did you mean identity"),
        (["--shortcuts", "xyz"], "known are none, identity, preact"),
        (["--shortcuts", "smp:unet/resnet34"], "smp:unet/resnet34 is a network of another library"),
        (["--steps", "0"], "--steps: Input should be greater than or equal to 1"),
    ],
)
def test_an_impossible_setting_is_one_sentence(option, sentence, phantom, tmp_path, caplog):
    options = ["depth", "--data", str(phantom), "--out", str(tmp_path / "x"), *option]
    assert main(options) == 2
    assert sentence in caplog.text
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(("study", "shortcut"), [("vanishing", "gated"), ("thousand", "dense")])
def test_a_shortcut_that_a_study_has_no_network_of_is_refused_before_data_are_fetched(
    study, shortcut, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("training.studies.carried_out.fetch", lambda name: pytest.fail(name))
    assert main([study, "--out", str(tmp_path / "x"), "--shortcuts", shortcut]) == 2
    assert f"got '{shortcut}'" in caplog.text


def test_encoders_refuse_a_shortcut_that_is_not_known(phantom):
    setting = Setting(data=phantom, shortcuts=("identiy",), **TINY)
    with pytest.raises(ConfigError, match="did you mean identity"):
        encoders.STUDY.jobs(setting)


@pytest.mark.parametrize("option", ["--layers", "--features"])
def test_a_size_that_a_study_s_networks_decide_is_no_option_of_it(option, capsys):
    with pytest.raises(SystemExit):
        main(["encoders", option, "9"])
    assert f"unrecognized arguments: {option}" in capsys.readouterr().err
