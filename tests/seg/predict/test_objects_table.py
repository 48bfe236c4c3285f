"""``objects.csv`` holds the objects of all images, and says only what was seen of such objects."""

import csv

import numpy as np
import pytest

from seg.images import Image, write_image
from seg.predict.__main__ import main
from tests.packages import write_package


@pytest.fixture
def command(tmp_path):
    """Asks for the objects of two images and of one without any."""
    package = write_package(tmp_path / "package", objects=True)
    for name, count in (("a", 1), ("b", 2), ("none", 0)):
        array = np.zeros((1, 40, 60), np.uint8)
        for number in range(count):
            array[0, 10:22, 6 + 24 * number : 20 + 24 * number] = 230
        write_image(tmp_path / "in" / f"{name}.tif", Image(array))
    return [str(package), str(tmp_path / "in"), "--format", "instances", "--provider", "cpu"]


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "lose",
    [
        pytest.param(lambda table: table.unlink(), id="all of them"),
        pytest.param(
            lambda table: table.write_text("".join(table.read_text().splitlines(True)[:-1])),
            id="the last one",
        ),
    ],
)
def test_images_whose_rows_were_lost_are_done_again(command, tmp_path, capsys, lose):
    out = tmp_path / "out"
    assert main([*command, "--out", str(out)]) == 0
    before = (out / "objects.csv").read_text()
    assert {row["case"] for row in rows_of(out / "objects.csv")} == {"a", "b"}
    lose(out / "objects.csv")
    assert main([*command, "--out", str(out)]) == 0
    assert (out / "objects.csv").read_text() == before
    capsys.readouterr()
    assert main([*command, "--out", str(out)]) == 0
    assert "3 were finished before" in capsys.readouterr().err


def test_counts_beyond_another_threshold_have_no_interval(command, tmp_path):
    assert main([*command, "--threshold", "0.9", "--out", str(tmp_path / "out")]) == 0
    first = rows_of(tmp_path / "out" / "quality.csv")[0]
    assert int(first["objects_nucleus"]) > 0
    assert (first["low_nucleus"], first["high_nucleus"]) == ("", "")
    assert all(row["probability"] == "" for row in rows_of(tmp_path / "out" / "objects.csv"))


def test_a_table_without_a_row_has_its_columns(command, tmp_path):
    package, folder, *options = command
    assert main([package, folder, *options, "--out", str(tmp_path / "some")]) == 0
    alone = [package, f"{folder}/none.tif", *options, "--out", str(tmp_path / "none")]
    assert main(alone) == 0
    with_rows, without = (
        (tmp_path / name / "objects.csv").read_text().splitlines() for name in ("some", "none")
    )
    assert without == with_rows[:1]
    assert without[0].startswith("case,label,class,probability,area,")


def test_cases_that_are_called_like_formulas_are_marked_in_all_tables_and_done_once(
    command, tmp_path, capsys
):
    (tmp_path / "in" / "a.tif").rename(tmp_path / "in" / "=1+1.tif")
    (tmp_path / "in" / "b.tif").rename(tmp_path / "in" / "-1uM.tif")
    out = tmp_path / "out"
    for _ in range(2):
        assert main([*command, "--measurements", "--out", str(out)]) == 0
        for table in ("objects.csv", "quality.csv", "measurements.csv"):
            named = {row["case"] for row in rows_of(out / table)}
            assert named - {"none"} == {"'=1+1", "'-1uM"}
    assert "3 were finished before" in capsys.readouterr().err
