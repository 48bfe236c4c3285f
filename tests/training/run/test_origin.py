"""A checkpoint knows what it was trained on, and nothing goes on with that of another run."""

import pytest

from seg.errors import ConfigError
from tests.training.run.test_plan import planned
from training.run.folder import RunFolder
from training.run.origin import check_origin, origin_of
from training.run.plan import changed_plan


@pytest.fixture
def plan():
    return planned((64, 64))


@pytest.fixture
def run(tmp_path):
    """The folder of a run that has begun."""
    begun = RunFolder(tmp_path)
    begun.data.write_text("cases")
    begun.fingerprint.write_text("numbers")
    return begun


def test_a_checkpoint_of_this_plan_and_these_data_goes_on(plan, run):
    check_origin(origin_of(plan, run), plan, run)
    check_origin(None, plan, run)  # of older times


@pytest.mark.parametrize(
    "fields", [{"minutes": 9.0}, {"learning_rate": 1e-4}, {"precision": "bfloat16"}, {"data": "b"}]
)
def test_what_leaves_the_network_what_it_was_may_change(plan, run, fields):
    check_origin(origin_of(plan, run), changed_plan(plan, fields), run)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"seed": 7}, "seed was 0 and is 7", id="seed"),
        pytest.param({"margin": (3, 3)}, "margin was [", id="margin"),
        pytest.param(
            {"normalisation": [{"kind": "rescale", "low": 0, "high": 1}]},
            "normalisation is another",
            id="intensity",
        ),
        pytest.param({"folds": 3, "fold": 1}, "fold was None and is 1", id="fold"),
    ],
)
def test_a_plan_that_was_edited_since_is_named(plan, run, fields, said):
    with pytest.raises(ConfigError, match="changed since the training began") as error:
        check_origin(origin_of(plan, run), changed_plan(plan, fields), run)
    assert said in str(error.value)


@pytest.mark.parametrize("file", ["data", "fingerprint"])
def test_a_checkpoint_of_other_data_is_refused(plan, run, file):
    origin = origin_of(plan, run)
    getattr(run, file).write_text("others")
    with pytest.raises(ConfigError, match="trained on other data"):
        check_origin(origin, plan, run)
