"""The model card, from the package alone."""

import re

from seg.model_package import ModelPackage, Score
from tests.packages import write_package
from training.model_card import main
from training.reports.model_card import TO_FILL, write_model_card


def test_what_the_package_knows_is_filled_and_the_rest_is_marked(tmp_path):
    package = write_package(tmp_path / "package", channels=2)
    assert main([str(package)]) == 0
    text = (tmp_path / "MODEL_CARD.md").read_text()
    for known in (
        "nearest-level 1",
        "cytoplasm, nucleus",
        "channel 0 (unknown), channel 1",
        "16 to",
    ):
        assert known in text
    assert text.count(TO_FILL) >= 8
    assert "{" not in text
    assert "holds no scores" in text


def test_scores_stand_in_a_table_with_their_intervals(tmp_path):
    card = ModelPackage.load(write_package(tmp_path / "package")).card
    scores = {"a|b": Score(dice=0.91, ci95=(0.9, 0.925), cases=7)}
    write_model_card(card.model_copy(update={"metrics": scores}), tmp_path / "card.md")
    (row,) = re.findall(r"^\| a.*$", (tmp_path / "card.md").read_text(), re.MULTILINE)
    assert row == r"| a\|b | 0.910 | 0.900 to 0.925 | 7 |"


def test_a_folder_that_is_no_package_is_one_sentence(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
