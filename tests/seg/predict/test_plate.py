"""A folder of wells to one table."""

import csv

import pytest

from seg.errors import ConfigError
from seg.predict.plate import Plate, PlateLayout, Well, well_of


@pytest.mark.parametrize(
    ("case", "plate", "well"),
    [
        ("A01_site2", "", "A01"),
        ("exp3_B-12_s1", "", "B12"),
        ("run/P24", "run", "P24"),
        ("run 7/C03/site1_t04", "run 7", "C03"),
        ("C2_A01_z3", "", "A01"),
        ("r02c11f03", "", "B11"),
        ("D4.s1", "", "D04"),
        ("AF48", "", "AF48"),
    ],
)
def test_names_and_folders_tell_the_well(case, plate, well):
    found = well_of(case)
    assert (found.plate, found.name) == (plate, well)


@pytest.mark.parametrize("case", ["image7", "CASE12", "t01_p1", "Q05", "A00", "BA1"])
def test_other_names_tell_none(case):
    assert well_of(case) is None


def test_counts_and_intervals_of_a_well_are_added_up_beside_its_dose(tmp_path):
    layout = tmp_path / "layout.csv"
    layout.write_text('well,dose,compound\nA1,0.5,x\nB02,2,"y, z"\n')
    plate = Plate(PlateLayout(layout))
    counts = {"objects_nucleus": "3", "low_nucleus": "2", "high_nucleus": "5", "windows": "9"}
    plate.put("A01_s1", counts, [{"class": "nucleus", "area": 10, "perimeter": 3}])
    plate.put("A01_s2", counts, [{"class": "nucleus", "area": "20", "perimeter": 3}])
    plate.put("A02_s1", {"objects_nucleus": 1, "low_nucleus": None, "high_nucleus": None}, [])
    plate.put_failed("A02_s2")
    plate.put("blank", counts, [])
    plate.write(tmp_path / "plate.csv")
    first, second, third = csv.DictReader((tmp_path / "plate.csv").open())
    assert first == {
        "well": "A01", "row": "A", "column": "1", "dose": "0.5", "compound": "x",
        "images": "2", "images_failed": "0", "high_nucleus": "10", "low_nucleus": "4",
        "objects_nucleus": "6", "mean_area_nucleus": "15.0",
    }  # fmt: skip
    assert (second["well"], second["objects_nucleus"], second["low_nucleus"]) == ("A02", "1", "")
    assert (second["images"], second["images_failed"], second["dose"]) == ("1", "1", "")
    assert (third["well"], third["images"], third["objects_nucleus"]) == ("B02", "0", "")
    assert third["compound"] == "y, z"
    assert plate.without_well == ["blank"]


def test_plates_in_folders_of_their_own_are_not_mixed(tmp_path):
    plate = Plate()
    for case in ("one/A01_s1", "two/A01/s1"):
        plate.put(case, {"objects_cell": 2}, [])
    assert [(row["plate"], row["well"], row["objects_cell"]) for row in plate.rows()] == [
        ("one", "A01", 2),
        ("two", "A01", 2),
    ]
    assert sorted([Well("", "B", 1), Well("", "A", 12)])[0].name == "A12"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("dose\n1\n", "no column well"),
        ("well,dose\nZ99,1\n", "is no well such as B03"),
        ("well,dose\nA1,1\nA01,2\n", "A01 was told before"),
    ],
)
def test_a_layout_that_cannot_be_meant_is_one_sentence(text, sentence, tmp_path):
    (tmp_path / "layout.csv").write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        PlateLayout(tmp_path / "layout.csv")
