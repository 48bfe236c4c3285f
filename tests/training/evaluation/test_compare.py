"""Two evaluations of the same cases."""

import io
import json

import numpy as np
import PIL.Image
import pytest

from data.phantom import draw
from seg.errors import ConfigError
from tests.packages import write_package
from training.compare import main
from training.evaluation.comparison import compare, comparison_table, on_fair_cases
from training.evaluation.measure import measure_region, summary_of_region
from training.evaluation.score_files import write_metrics
from training.evaluation.scores import CaseScore, Evaluation
from training.reports.comparison_picture import draw_comparison


def row(length):
    mask = np.zeros((4, 40), bool)
    mask[1:3, :length] = True
    return mask


def evaluation(lengths, tolerance=1.0, reference=20):
    """Cases c0, c1, ... whose prediction is a row of that length, the reference one of 20."""
    found = [
        measure_region(row(n), row(reference), (1.0, 1.0), tolerance) for n in map(int, lengths)
    ]
    return Evaluation(
        cases=tuple(
            CaseScore(case=f"c{number}", classes={"cell": each})
            for number, each in enumerate(found)
        ),
        summary={"cell": summary_of_region(found)},
        tolerance=tolerance,
    )


def compared(a, b):
    return compare(a, b, ("old", "new"))


def dice_of(comparison):
    (found,) = [each for each in comparison.differences if each.measure == "dice"]
    return found


LENGTHS = np.array([8, 9, 10, 11, 12, 13, 14, 15])


def test_a_package_that_is_better_everywhere_is_called_better():
    comparison = compared(evaluation(LENGTHS), evaluation(LENGTHS + 4))
    dice = dice_of(comparison)
    expected = [2 * (n + 4) / (n + 24) - 2 * n / (n + 20) for n in LENGTHS]
    assert dice.difference.mean == pytest.approx(np.mean(expected))
    assert dice.p_value == pytest.approx(2 / 2**8)
    assert (dice.better, dice.worse) == (8, 0)
    assert "B is better on 8 cases" in comparison.says["cell"]


def test_for_a_distance_lower_is_better():
    comparison = compared(evaluation(LENGTHS), evaluation(LENGTHS + 4))
    (hd95,) = [each for each in comparison.differences if each.measure == "hd95"]
    assert hd95.difference.mean < 0
    assert (hd95.better, hd95.worse) == (8, 0)


def test_few_cases_allow_to_say_nothing():
    comparison = compared(evaluation(LENGTHS[:4]), evaluation(LENGTHS[:4] + 4))
    assert "4 cases are too few to say anything" in comparison.says["cell"]
    assert "p = 0.12" in comparison.says["cell"]


def test_a_difference_that_goes_both_ways_is_not_shown():
    there_and_back = LENGTHS + np.array([3, -3, 2, -2, 4, -4, 1, -1])
    assert (
        "no difference shown"
        in compared(evaluation(LENGTHS), evaluation(there_and_back)).says["cell"]
    )


def test_the_same_package_twice_does_not_differ():
    same = evaluation(LENGTHS)
    assert compared(same, same).says["cell"] == "no difference in any of 8 cases"


def test_only_cases_of_both_are_paired():
    comparison = compared(evaluation(LENGTHS), evaluation(LENGTHS[:6]))
    assert comparison.left_out == ("c6", "c7")
    assert dice_of(comparison).difference.cases == 6
    assert "left out, scored on one side only: c6, c7" in comparison_table(comparison)


def test_surface_dice_of_other_tolerances_is_not_compared():
    comparison = compared(evaluation(LENGTHS), evaluation(LENGTHS, tolerance=3.0))
    assert "surface_dice" not in {each.measure for each in comparison.differences}


def test_other_references_are_refused():
    with pytest.raises(ConfigError, match="case c0: the references differ, 40 and 42 voxels"):
        compared(evaluation(LENGTHS), evaluation(LENGTHS, reference=21))


def test_references_that_were_drawn_over_a_model_s_masks_do_not_judge_it():
    old, new = evaluation([20, 20, 15, 12]), evaluation([19, 18, 18, 18])
    comparison = compared(old, new)
    assert comparison.own_a == ("c0", "c1")
    assert not comparison.own_b
    assert dice_of(comparison).difference.mean < 0.06
    assert "2 of 4 cases show the outlines of A voxel for voxel" in comparison_table(comparison)
    fair = compared(*on_fair_cases(old, new))
    assert fair.cases == ("c2", "c3")
    assert dice_of(fair).difference.mean > 0.1
    assert on_fair_cases(evaluation([20, 20]), evaluation([19, 18]))[1].cases, "no other judge"


def test_the_picture_can_be_opened():
    a, b = evaluation(LENGTHS), evaluation(LENGTHS + 1)
    with PIL.Image.open(io.BytesIO(draw_comparison(a, b, compared(a, b)))) as picture:
        assert picture.format == "PNG"
        assert picture.width > picture.height


def test_packages_are_scored_and_compared(tmp_path, capsys):
    package = write_package(tmp_path / "package", channels=2)
    data = draw(tmp_path / "data", cases=8, size=(32, 40))
    out = tmp_path / "comparison.json"
    arguments = [str(package), str(package), str(data), "--out", str(out), "--provider", "cpu"]
    assert main(arguments) == 0
    written = json.loads(out.read_text())
    assert len(written["cases"]) == 2
    assert set(written["says"].values()) == {"no difference in any of 2 cases"}
    assert (tmp_path / "comparison.png").is_file()
    assert "B - A" in capsys.readouterr().out


def test_metrics_that_are_there_are_compared_without_a_dataset(tmp_path, capsys):
    for name, shift in {"a": 0, "b": 4}.items():
        write_metrics(evaluation(LENGTHS + shift), tmp_path / f"{name}.json")
    out = tmp_path / "comparison.json"
    files = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    assert main([*files, "--out", str(out)]) == 0
    assert "B is better" in capsys.readouterr().out


def test_packages_without_a_dataset_are_one_sentence(tmp_path, tiny_package, capsys):
    assert main([str(tiny_package), str(tiny_package)]) == 2
    assert "name its folder as third argument" in capsys.readouterr().err
