"""A folder of wells to one table."""

import csv

import numpy as np
import pytest
import tifffile
import zarr

from seg.errors import ConfigError
from seg.images import Image, read_image
from seg.images.zarr.plates import fields_of_plate
from seg.images.zarr.write_labels import write_label_zarr
from seg.inference import Predictor
from seg.model_package import ModelPackage
from seg.predict.__main__ import main
from seg.predict.plate import Plate, PlateLayout, well_of, write_label_plates
from tests.instances import cells
from tests.packages import write_package


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
        ("AA12_s3", "", "AA12"),
        ("a1", "", "A01"),
        ("well_b03_t1", "", "B03"),
        ("WellC07_ChannelDAPI_Seq0001", "", "C07"),
        ("B - 02(fld 01 wv DAPI)", "", "B02"),
        ("D003", "", "D03"),
        ("Q05_s1", "", "Q05"),
        ("plate 2/a01/c1", "plate 2", "A01"),
        ("VID7_A1_1_00d00h", "", "A01"),
        ("scan_B03_T0001F001L01A01Z01C01", "", "B03"),
    ],
)
def test_names_and_folders_tell_the_well(case, plate, well):
    found = well_of(case)
    assert (found.plate, found.name) == (plate, well)


@pytest.mark.parametrize("case", ["image7", "CASE12", "t01_p1", "A00", "BA1", "A49", "im_c1"])
def test_other_names_tell_none(case):
    assert well_of(case) is None


@pytest.mark.parametrize("case", ["P01_A03", "A01_F01", "P1_A1", "c1/A2_B2"])
def test_a_name_that_may_be_of_two_wells_is_no_guess(case):
    with pytest.raises(ConfigError, match="may be of well"):
        Plate().check([case])


def test_areas_of_a_well_in_two_units_have_no_mean(tmp_path):
    plate = Plate()
    for case, unit, area in (("A01_a", "mm", 0.01), ("A01_b", "pixel", 90), ("A02", "pixel", 8)):
        row = {"class": "cell", "area": area, "intensity_mean-0": 5.0, "unit": unit}
        plate.put(case, {"objects_cell": 1}, [row])
    plate.write(tmp_path / "plate.csv")
    first, second = csv.DictReader((tmp_path / "plate.csv").open())
    assert (first["mean_area_cell"], first["unit"]) == ("", "mm and pixel")
    assert first["mean_intensity_mean-0_cell"] == second["mean_intensity_mean-0_cell"] == "5.0"
    assert (second["mean_area_cell"], second["unit"]) == ("8.0", "pixel")


def test_images_of_no_well_are_refused_before_they_are_segmented():
    Plate().check(["A01", "blank"])
    with pytest.raises(ConfigError, match="no image tells a well"):
        Plate().check(["blank", "black"])


@pytest.mark.parametrize(
    "cases",
    [
        ("A01_s1_w1", "A01_s1_w2"),
        (
            "P_A01_s1_w1045E8B2C-8F6D-4E63-8A59-9CF1CEBF3A4C",
            "P_A01_s1_w2F0D0F2C1-0B1E-4C54-9E0F-33F6C2B7A1D5",
        ),
        ("B03/site1_ch00", "B03/site1_ch01"),
        ("r02c11f01p01-ch1sk1fk1fl1", "r02c11f01p01-ch2sk1fk1fl1"),
    ],
)
def test_channels_of_one_field_are_not_added_up(cases):
    with pytest.raises(ConfigError, match="are channels of one field by their names"):
        Plate().check(cases)
    Plate().check(cases[:1])


@pytest.mark.parametrize(
    ("cases", "kind"),
    [
        (("A01_t00", "A01_t01"), "planes or moments"),
        (("A01_s1_z1", "A01_s1_z2"), "planes or moments"),
        (("r02c11f01p01-ch1sk1fk1fl1", "r02c11f01p02-ch1sk1fk1fl1"), "planes or moments"),
        (("r02c11f01p01-ch1sk1fk1fl1", "r02c11f01p01-ch1sk2fk1fl1"), "planes or moments"),
        (("A01_s1_w1", "A01_s2_w1", "A02_s1_w2"), None),
        (("r02c11f01p01-ch1sk1fk1fl1", "r02c11f02p01-ch1sk1fk1fl1"), None),
        (("t1_B03_s1", "t1_C03_s1", "t1_B03_s2"), None),
    ],
)
def test_planes_and_moments_of_one_field_are_told(cases, kind):
    plate = Plate()
    plate.check(cases)
    assert (plate.repeated and plate.repeated.kind) == kind


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


def test_wells_stand_as_on_the_plate():
    plate = Plate()
    for case in ("AA01", "B01", "A12", "A02", "Z01"):
        plate.put(case, {}, [])
    assert [row["well"] for row in plate.rows()] == ["A02", "A12", "B01", "Z01", "AA01"]


@pytest.mark.parametrize("version", [2, 3])
def test_the_wells_of_an_ome_zarr_plate_are_segmented_and_added_up(tmp_path, capsys, version):
    root, files = tmp_path / "screen.zarr", {}
    group = zarr.open_group(root, mode="w", zarr_format=version)
    wells = ["A/1", "B/12", "C/3"]
    told = {"wells": [{"path": path} for path in wells]}
    ours = {"plate": told} if version == 2 else {"ome": {"version": "0.5", "plate": told}}
    group.attrs.update(ours)
    for number, well in enumerate(wells[:2]):  # C/3 is announced, and missing
        told = {"images": [{"path": str(n)} for n in range(number + 1)]}
        of_well = group.require_group(well)
        of_well.attrs.update({"well": told} if version == 2 else {"ome": {"well": told}})
        for n in range(number + 1):
            image = of_well.require_group(str(n))
            image.create_array("0", data=cells(n)[0])
            axes = [{"name": name, "type": "space"} for name in "yx"]
            scales = [{"axes": axes, "datasets": [{"path": "0"}]}]
            image.attrs.update(
                {"multiscales": scales} if version == 2 else {"ome": {"multiscales": scales}}
            )
            files[f"{well[0]}{int(well[2:]):02d}/{n}"] = cells(n)[0]
    package = write_package(tmp_path / "package", objects=True)
    out = tmp_path / "out"
    formats = ["instances", "--format", "instances-zarr"]
    command = [str(package), str(root), "--out", str(out), "--plate", "--format", *formats]
    assert main(command) == 1
    assert "screen/C03/0" in capsys.readouterr().err
    predictor = Predictor(ModelPackage.load(package))
    counts = {}
    for name, image in files.items():
        expected = predictor.objects(Image(image[None]))
        read = tifffile.imread(out / "screen" / f"{name}.tif")
        np.testing.assert_array_equal(read, expected.labels)
        counts[name[:3]] = counts.get(name[:3], 0) + len(expected)
    labelled = out / "screen.instances.ome.zarr"
    fields = fields_of_plate(labelled)
    assert [f"{field.well}/{field.name}" for field in fields] == list(files)  # without C03
    for field in fields:
        for place in (field.folder, field.folder / "labels/objects"):
            read = read_image(place, dims=2).array[0]
            expected = tifffile.imread(out / "screen" / field.well / f"{field.name}.tif")
            np.testing.assert_array_equal(read, expected)
    first, second, third = csv.DictReader((out / "plate.csv").open())
    assert [first["plate"], first["well"], second["well"]] == ["screen", "A01", "B12"]
    for row in (first, second):
        found = sum(int(row[name]) for name in row if name.startswith("objects_"))
        assert found == counts[row["well"]]
    assert (third["well"], third["images"], third["images_failed"]) == ("C03", "0", "1")


def test_that_there_is_none_is_known_of_a_well(tmp_path):
    package = write_package(tmp_path / "package", objects=True)
    tifffile.imwrite(tmp_path / "A01.tif", np.zeros((30, 40), np.uint8))
    command = [str(package), str(tmp_path / "A01.tif"), "--plate", "--format", "objects"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    for table in ("quality.csv", "plate.csv"):
        row = next(csv.DictReader((tmp_path / "out" / table).open()))
        assert [row[f"{name}_nucleus"] for name in ("objects", "low", "high")] == ["0", "0", "2"]


def test_label_images_of_files_become_a_plate_by_their_wells(tmp_path):
    files = {}
    for case in ("B02_s1", "B02_s2", "A10_s1", "blank"):
        files[case] = tmp_path / f"{case}.zip"
        labels = np.full((3, 4), len(files), np.uint32)
        write_label_zarr(files[case], labels, [], [])
    write_label_plates(files, ["B02_s1"], tmp_path)
    fields = fields_of_plate(tmp_path / "plate.instances.ome.zarr")
    # the first image of B02 failed, and the second keeps its number
    assert [(field.well, field.name) for field in fields] == [("A10", "0"), ("B02", "1")]
    assert [int(read_image(field.folder, dims=2).array.max()) for field in fields] == [3, 2]
    label = zarr.open_group(fields[0].folder / "labels/objects", mode="r")
    assert label.attrs["image-label"]["source"] == {"image": "../../"}
    told = zarr.open_group(tmp_path / "plate.instances.ome.zarr", mode="r").attrs["plate"]
    assert told["wells"][1] == {"path": "B/2", "rowIndex": 1, "columnIndex": 0}
    assert told["columns"] == [{"name": "2"}, {"name": "10"}]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("dose\n1\n", "no column well"),
        ("well,dose\nZ99,1\n", "is no well such as B03"),
        ("well,dose\nA1,1\nA01,2\n", "A01 was told before"),
        ("well,unit\nA1,uM\n", "a column unit, as the table of wells has"),
        ("well,objects_cell\nA1,7\n", "a column objects_cell, as the table of wells has"),
    ],
)
def test_a_layout_that_cannot_be_meant_is_one_sentence(text, sentence, tmp_path):
    (tmp_path / "layout.csv").write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        PlateLayout(tmp_path / "layout.csv")


@pytest.mark.parametrize(
    "text",
    [
        "Well;Dose\na1;1,5\n",
        "\ufeffWELL \tDose\r\nA01\t1,5\r\n",
        'row,column,well,Dose\n1,1,A1,"1,5"\n',
    ],
)
def test_a_layout_may_be_written_as_spreadsheets_do(text, tmp_path):
    (tmp_path / "layout.csv").write_bytes(text.encode())
    plate = Plate(PlateLayout(tmp_path / "layout.csv"))
    (row,) = plate.rows()
    assert (row["well"], row["row"], row["Dose"]) == ("A01", "A", "1,5")
