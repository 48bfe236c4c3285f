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
