"""A plan that is handed over, in the time that is asked for."""

import pytest

from seg.errors import ConfigError
from tests.datasets import plain_folder
from tests.training.run.test_plan import planned
from training.dataset import load_dataset
from training.planning.options import PlanOptions
from training.planning.planner import plan_run
from training.run.clock import Clock
from training.run.device import Device
from training.run.plan import changed_plan, validated
from training.run.plan_yaml import write_plan


@pytest.mark.parametrize(
    ("given", "asked", "expected"),
    [
        pytest.param({"minutes": 2}, {"minutes": 8.0}, (8, None, 400), id="more minutes"),
        pytest.param({"steps": 50}, {"minutes": 8.0}, (8, None, None), id="minutes for steps"),
        pytest.param({"minutes": 2}, {"steps": 7}, (2, 7, 7), id="steps for minutes"),
        pytest.param({"minutes": 2}, {}, (2, None, 100), id="as it is"),
    ],
)
def test_steps_are_those_of_the_time_that_is_asked_for(given, asked, expected, tmp_path):
    plan = planned((64, 64))
    write_plan(changed_plan(plan, given | {"expected_steps": 100}), tmp_path / "plan.yaml")
    dataset = load_dataset(plain_folder(tmp_path / "data"))
    options = PlanOptions(plan=tmp_path / "plan.yaml", chosen=asked)
    found = plan_run(options, dataset, None, Device("cpu", "made up"), Clock(1)).plan
    assert (found.minutes, found.steps, found.expected_steps) == expected


def test_a_fold_that_there_is_not_is_refused_in_one_sentence():
    fields = planned((64, 64)).model_dump() | {"fold": 1}
    with pytest.raises(ConfigError, match="used: fold: 1 folds are 0 to 0, got 1"):
        validated(fields, "it")
