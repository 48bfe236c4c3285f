"""When a package may take the place of another one."""

import pytest

from training.evaluation.comparison import Comparison, Difference
from training.evaluation.object_scores import ObjectDifference
from training.evaluation.scores import Interval
from training.pipeline.verdict import verdict


def dice(mean, low, high, *, p=0.001, cases=8, worse=0, region="cell"):
    return Difference(
        region=region,
        measure="dice",
        mean_a=0.7,
        mean_b=0.7 + mean,
        difference=Interval(mean=mean, ci95=(low, high), cases=cases),
        p_value=p,
        smallest_p=2.0 ** (1 - cases),
        better=cases - worse,
        worse=worse,
    )


def objects(a, b):
    return ObjectDifference(
        region="cell", label="AP .5", a=a, b=b, difference=b - a, ci95=(0.01, 0.2), cases=8
    )


def judged(*differences, found=(), cases=8, **others):
    names = tuple(f"case {n}" for n in range(cases))
    return verdict(
        Comparison(
            a="a",
            b="b",
            cases=names,
            left_out=(),
            differences=differences,
            objects=found,
            says={},
            **others,
        )
    )


def decided(*differences, **others):
    return judged(*differences, **others).decision


@pytest.mark.parametrize(
    ("decision", "differences"),
    [
        ("better", [dice(0.05, 0.02, 0.08)]),
        ("not better", [dice(-0.05, -0.08, -0.02)]),
        ("not better", [dice(0.01, -0.02, 0.04, p=0.4)]),
        ("not better", [dice(0.09, 0.05, 0.1), dice(-0.02, -0.03, -0.01, region="other")]),
        ("perhaps", [dice(0.05, 0.02, 0.08, p=0.25, cases=3)]),
        ("not better", [dice(0.05, -0.02, 0.08, p=0.5, cases=3, worse=1)]),
        ("not better", []),
    ],
    ids=["shown", "worse", "not shown", "a class worse", "few", "few and mixed", "nothing"],
)
def test_a_package_is_better_where_a_paired_test_says_so(decision, differences):
    cases = differences[0].difference.cases if differences else 1
    assert decided(*differences, cases=cases) == decision


def test_objects_decide_where_they_are_told_apart():
    same = dice(0.001, -0.001, 0.003, p=0.5)
    assert decided(same, found=(objects(0.6, 0.8),)) == "better"
    assert decided(same, found=(objects(0.8, 0.6),)) == "not better"
    assert decided(dice(-0.02, -0.05, 0.01, p=0.3), found=(objects(0.6, 0.8),)) == "not better"


def test_where_as_many_objects_are_right_their_outlines_decide_and_a_person_is_asked():
    as_many = objects(1.0, 1.0)
    one = dice(0.007, 0.007, 0.007, p=1.0, cases=1)
    assert judged(one, found=(as_many,), cases=1).decision == "perhaps"
    assert decided(dice(-0.001, -0.002, 0.001, p=0.6), found=(as_many,)) == "not better"
    found = judged(dice(0.007, -0.01, 0.02, p=0.5), found=(objects(0.9, 0.8),))
    assert found.says.startswith("fewer of its objects are right: ")


def test_where_only_masks_drawn_over_the_old_model_s_judge_it_that_is_said():
    found = judged(dice(-0.05, -0.08, -0.02), own_a=("case 0", "case 1"))
    assert found.decision == "not better"
    assert "2 of them with outlines of a voxel for voxel" in found.says
