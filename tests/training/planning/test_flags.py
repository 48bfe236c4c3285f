"""Flags of ``fit`` are the fields of a plan: what they take, what they mean, what is left out."""

from typing import Literal, get_args, get_origin

import pytest

from training.planning.command_line import chosen_from, command_line
from training.planning.flags import FLAGS
from training.run.plan import Plan
from training.run.plan_fields import PlanFields

FLAG_OF = {
    name: "--" + (flag.name or name.replace("_", "-"))
    for group in FLAGS.values()
    for name, flag in group.items()
}
GIVEN = {
    "class_weights": (["cell=2"], {"cell": 2.0}),
    "memory": (["1GB"], 10**9),
    "patch": (["64", "32"], (64, 32)),
    "spacing": (["0.5", "1"], (0.5, 1.0)),
    "margin": (["0", "1"], (0, 1)),
    "mirror_axes": ([], ()),
    "network": (["resunet-m"], "resunet-m"),
    "shortcut": (["gated"], "gated"),
    "weights": (["imagenet"], "imagenet"),
    "orientation": (["RA"], "RA"),
    "deep_supervision": ([], True),
    "mirror": ([], True),
}


def chosen(*words):
    return chosen_from(command_line().parse_args(words))


def test_a_plan_has_the_fields_that_flags_are_made_of():
    assert list(Plan.model_fields) == list(PlanFields.model_fields)
    assert set(FLAG_OF) <= set(Plan.model_fields)


def test_nothing_is_chosen_where_nothing_is_said():
    assert chosen() == {}


@pytest.mark.parametrize("name", sorted(set(FLAG_OF) - {"start"}))
def test_a_flag_sets_its_field_to_what_the_plan_takes(name):
    kind = Plan.model_fields[name].annotation
    choices = next((k for k in (kind, *get_args(kind)) if get_origin(k) is Literal), None)
    words, value = GIVEN.get(name, (["2"], 2))
    if choices is not None:
        words, value = [get_args(choices)[-1]], get_args(choices)[-1]
    elif words == ["2"] and any(getattr(m, "lt", getattr(m, "le", 9)) <= 1
                                for m in Plan.model_fields[name].metadata):  # fmt: skip
        words, value = ["0.25"], 0.25
    assert chosen(FLAG_OF[name], *words) == {name: value}


def test_a_weight_file_and_a_package_are_named_from_wherever_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert chosen("--from", "package") == {"start": str(tmp_path / "package")}
    assert chosen("--no-deep-supervision") == {"deep_supervision": False}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--ema", "1"), "argument --ema: input should be less than 1"),
        (
            ("--batch-size", "0"),
            "argument --batch-size: input should be greater than or equal to 1",
        ),
        (("--mirror-axes", "0", "-1"), "argument --mirror-axes: input should be greater than or"),
        (("--gradient-clip", "inf"), "argument --gradient-clip: input should be a finite number"),
        (("--steps", "few"), "argument --steps: expected a whole number from 1 on, got 'few'"),
        (("--loss", "l2"), "argument --loss: invalid choice: 'l2'"),
        (("--folds", "1"), "argument --folds: cross-validation needs 2 folds or more"),
        (("--seed", "2.5"), "argument --seed: '2.5' is no whole number"),
        (("--minutes", "ten"), "argument --minutes: expected a finite number, got 'ten'"),
        (("--minutes", "nan"), "argument --minutes: expected a finite number, got 'nan'"),
        (("--memory", "1e-30"), "argument --memory: expected a size such as 8GiB"),
        (("--class-weights", "cell=inf"), "argument --class-weights: expected a class and a"),
        (("--class-weights", "cell=x"), "argument --class-weights: expected a class and a"),
        (("--weights", ""), "argument --weights: string should have at least 1 character"),
        (("--attention", "1000000000"), "argument --attention: input should be less than or"),
        (("--threads", "1000000000"), "argument --threads: input should be less than or"),
        (("--accumulate", "1000000000"), "argument --accumulate: input should be less than or"),
        (("--learning-rate", "1e9"), "argument --learning-rate: input should be less than or"),
        (("--out", ""), "argument --out: expected a file or folder, got an empty name"),
    ],
)
def test_a_value_that_no_plan_takes_is_refused_before_the_data_are_looked_at(
    words, sentence, capsys
):
    with pytest.raises(SystemExit) as ended:
        command_line().parse_args(words)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_help_says_what_the_field_says():
    text = " ".join(command_line().format_help().split())
    for group in FLAGS.values():
        for name, flag in group.items():
            field = Plan.model_fields[name]
            if flag.help is None:
                assert field.description.partition("; null ")[0] in text, name
            if flag.default is None and field.default and isinstance(field.default, int | float):
                shown = "yes" if field.default is True else f"{field.default:g}"
                assert f"(default: {shown})" in text, name
