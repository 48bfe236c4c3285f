"""What cannot work is said in one sentence, before the work."""

import pytest

from data.phantom import draw
from seg.commands import REFUSED, exit_status
from seg.errors import ConfigError
from training import augment, fit
from training.planning.options import PlanOptions
from training.planning.planner import check_asked
from training.run.clock import Clock, enough_minutes
from training.run.device import Device


@pytest.mark.parametrize("seed", ["-1", "4294967296"])
@pytest.mark.parametrize("command", [fit.main, augment.main])
def test_a_seed_that_no_generator_takes_is_refused(command, seed, capsys):
    with pytest.raises(SystemExit):
        command(["folder", "--seed", seed])
    assert "a seed lies between 0 and 4294967295" in capsys.readouterr().err


def test_float16_on_a_cpu_is_refused_before_the_data_are_looked_at():
    with pytest.raises(ConfigError, match="float16 trains on a GPU only"):
        check_asked(PlanOptions(chosen={"precision": "float16"}), Device("cpu", "CPU"))
    check_asked(PlanOptions(chosen={"precision": "float16"}), Device("cuda", "H"))


def test_minutes_that_are_over_before_the_first_step_are_refused_with_how_many_would_do(
    tmp_path, caplog
):
    draw(tmp_path / "data", cases=4, size=(40, 40))
    out = tmp_path / "run"
    assert fit.main([str(tmp_path / "data"), "--out", str(out), "--minutes", "0.0001"]) == REFUSED
    assert "0.0001 minutes are over before a first step" in caplog.text
    assert "give at least --minutes" in caplog.text
    assert not out.exists()


def test_enough_minutes_leave_as_much_time_for_training_as_went_before_it():
    assert enough_minutes(Clock(1, spent_s=60)) == pytest.approx(2.0, abs=0.11)
    assert enough_minutes(Clock(1, spent_s=6), step_s=6) == pytest.approx(2.1, abs=0.11)


def test_a_name_that_is_no_text_is_told_in_one_sentence():
    said = []

    def work():
        "caf\udce9".encode()

    assert exit_status(work, said.append) == REFUSED
    assert said == ["error: a name is not UTF-8: 'caf\\udce9'; rename the file or folder"]
