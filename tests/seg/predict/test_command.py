import csv
import json
import shutil
import subprocess
import sys
import time
from functools import partial

import numpy as np
import PIL.Image
import pytest
import tifffile
from numpy.random import default_rng

from seg.errors import ImageError
from seg.held_folders import held
from seg.images import Image, Limits, read_channels, read_image, read_mask, write_image
from seg.inference import Predictor
from seg.metrics import DiceCalibration, SelfAssessment
from seg.model_package import ModelPackage, write_card
from seg.predict import work
from seg.predict.__main__ import main
from seg.predict.command import LOCK
from tests.packages import write_package


def written(out):
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def rows_of(path):
    return {row["case"]: row for row in csv.DictReader(path.open(newline=""))}


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        array = default_rng(ord(name)).integers(0, 255, (1, 40, 50)).astype(np.uint8)
        write_image(tmp_path / "in" / f"{name}.tif", Image(array))
    return tmp_path


def test_masks_carry_the_stems_and_equal_the_predictor_s(tiny_package, folder):
    assert main([str(tiny_package), str(folder / "in"), "--out", str(folder / "out")]) == 0
    predictor = Predictor(ModelPackage.load(tiny_package))
    for name in ("a", "b"):
        expected = predictor.predict(read_image(folder / "in" / f"{name}.tif"))
        written = read_mask(folder / "out" / f"{name}.png")
        np.testing.assert_array_equal(written.array, expected.array)


def test_a_terminated_run_leaves_no_part_of_a_mask_and_goes_on(tiny_package, tmp_path):
    picture = Image(np.zeros((1, 600, 600), np.uint8))
    for number in range(40):
        write_image(tmp_path / "in" / f"{number}.tif", picture)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "seg.predict", str(tiny_package), str(tmp_path / "in")]
    command += ["--out", str(out), "--format", "tiff", "--provider", "cpu"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not list(out.glob("*.tif")):
            time.sleep(0.01)
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in said
    assert not [name for name in written(out) if name.startswith(".")]


def test_channels_in_files_of_their_own_make_one_mask(folder):
    package = write_package(folder / "package", channels=2)
    for channel in range(2):
        write_image(
            folder / "pair" / f"case_{channel:04d}.tif", Image(np.ones((1, 9, 9), np.uint8))
        )
    assert main([str(package), str(folder / "pair"), "--out", str(folder / "out")]) == 0
    assert written(folder / "out") == ["case.png", "quality.csv"]


def test_two_commands_do_not_write_to_one_folder(tiny_package, folder, capsys):
    command = [str(tiny_package), str(folder / "in"), "--out", str(folder / "out")]
    with held(folder / "out", folder / "out" / LOCK):
        assert main(command) == 2
        assert f"another command is writing to {folder / 'out'}; " in capsys.readouterr().err
        assert written(folder / "out") == [LOCK]
    assert main(command) == 0
    assert written(folder / "out") == ["a.png", "b.png", "quality.csv"]


def test_a_bad_file_is_named_and_the_others_are_done(tiny_package, folder, capsys):
    (folder / "in" / "bad.png").write_bytes(b"no picture")
    assert main([str(tiny_package), str(folder / "in"), "--out", str(folder / "out")]) == 1
    assert "failed: bad: " in capsys.readouterr().err
    assert written(folder / "out") == ["a.png", "b.png", "quality.csv"]


def test_a_picture_of_too_many_pixels_is_refused_without_advice_that_would_not_help(
    tiny_package, folder, capsys
):
    PIL.Image.new("1", (12_000, 12_000)).save(folder / "in" / "bomb.png")
    assert (folder / "in" / "bomb.png").stat().st_size < 20_000
    assert main([str(tiny_package), str(folder / "in"), "--out", str(folder / "out")]) == 1
    told = capsys.readouterr().err
    assert "failed: bomb: " in told
    assert "at most 100,000,000 pixels a plane are read" in told
    assert "--format" not in told


def test_a_finished_mask_beyond_the_reader_s_limits_is_not_done_again(tiny_package, folder, capsys):
    command = [str(tiny_package), str(folder / "in"), "--out", str(folder / "out")]
    assert main([*command, "--format", "tiff"]) == 0
    large = np.broadcast_to(np.uint8(0), (10_001, 10_000))
    tifffile.imwrite(folder / "out" / "a.tif", large, tile=(2048, 2048), compression="zlib")
    capsys.readouterr()
    assert main([*command, "--format", "tiff"]) == 0
    assert "2 were finished before" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(["nothing", "in"], "is no model package", id="no package"),
        pytest.param(["{package}", "nowhere"], "nowhere does not exist", id="no input"),
        pytest.param(["{package}", "{package}"], "no image in", id="folder without images"),
        pytest.param(
            ["{package}", "{image}", "--variant", "tiny"], "no variant 'tiny'", id="no variant"
        ),
    ],
)
def test_what_cannot_work_is_one_sentence(tiny_package, tmp_path, capsys, arguments, sentence):
    image = tmp_path / "in" / "a.tif"
    write_image(image, Image(np.ones((1, 9, 9), np.uint8)))
    filled = [a.format(package=tiny_package, image=image) for a in arguments]
    assert main([*filled, "--out", str(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert sentence in errors
    assert "Traceback" not in errors


def test_an_image_that_was_replaced_is_segmented_again(tiny_package, folder, capsys):
    command = [str(tiny_package), str(folder / "in"), "--out", str(folder / "out")]
    assert main(command) == 0
    image = next((folder / "in").glob("a.*"))
    shutil.copy(next((folder / "in").glob("b.*")), image)
    capsys.readouterr()
    assert main(command) == 0
    assert "1 segmented, 1 were finished before" in capsys.readouterr().err
    assert (folder / "out" / "a.png").read_bytes() == (folder / "out" / "b.png").read_bytes()


def test_what_an_earlier_run_knew_of_an_image_that_fails_now_is_not_told(
    tiny_package, folder, capsys
):
    command = [str(tiny_package), str(folder / "in"), "--out", str(folder / "out")]
    assert main(command) == 0
    next((folder / "in").glob("a.*")).write_bytes(b"no image")
    assert main(command) == 1
    assert "what lies there of it is of an earlier run" in capsys.readouterr().err
    assert set(rows_of(folder / "out" / "quality.csv")) == {"b"}


@pytest.mark.parametrize("others", ["png,dicom-seg", "png,objects-csv,rtstruct"])
def test_of_several_formats_none_is_written_where_one_refuses(others, tiny_package, folder, capsys):
    command = [str(tiny_package), str(folder / "in"), "--out", str(folder / "out")]
    assert main([*command, "--format", others]) == 1
    assert "did not come from DICOM" in capsys.readouterr().err
    assert not list((folder / "out").glob("a*"))


def test_no_file_stays_behind_where_a_later_format_refuses_what_was_found(
    tiny_package, folder, capsys, monkeypatch
):
    def refusing(found, output, image):
        if output.format == "tiff":
            raise ImageError("this mask cannot be written so")
        return b"x"

    monkeypatch.setattr(work, "encode_output", refusing)
    command = [str(tiny_package), str(folder / "in"), "--out", str(folder / "out")]
    assert main([*command, "--format", "png,tiff"]) == 1
    assert "cannot be written so" in capsys.readouterr().err
    assert not list((folder / "out").glob("a*"))


def test_what_is_finished_is_skipped_and_what_is_damaged_is_done_again(
    tiny_package, folder, capsys
):
    command = [str(tiny_package), str(folder / "in"), "--out", str(folder / "out")]
    assert main(command) == 0
    whole = (folder / "out" / "b.png").read_bytes()
    (folder / "out" / "a.png").write_bytes(whole)  # it is whole, so nobody looks what it shows
    (folder / "out" / "b.png").write_bytes(whole[: len(whole) // 2])
    capsys.readouterr()
    assert main(command) == 0
    assert "1 segmented, 1 were finished before" in capsys.readouterr().err
    assert (folder / "out" / "a.png").read_bytes() == whole
    assert (folder / "out" / "b.png").read_bytes() == whole
    assert main([*command, "--overwrite"]) == 0
    assert (folder / "out" / "a.png").read_bytes() != whole


def test_a_finished_case_keeps_its_rows_and_one_without_rows_is_not_finished(
    tiny_package, folder, capsys
):
    command = [str(tiny_package), str(folder / "in"), "--out", str(folder / "out")]
    assert main(command) == 0
    before = rows_of(folder / "out" / "quality.csv")
    assert set(before) == {"a", "b"}
    write_image(folder / "in" / "c.tif", Image(np.full((1, 40, 50), 128, np.uint8)))
    assert main(command) == 0
    after = rows_of(folder / "out" / "quality.csv")
    assert set(after) == {"a", "b", "c"}
    assert after["a"] == before["a"]
    capsys.readouterr()
    assert main([*command, "--measurements"]) == 0
    assert "3 segmented" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--mirror"], ["--threshold", "0.9"], ["--all-windows"]])
def test_what_other_options_made_is_not_finished(tiny_package, folder, capsys, options):
    command = [str(tiny_package), str(folder / "in"), "--out", str(folder / "out")]
    assert main(command) == 0
    for asked, done in (
        (options, "2 segmented\n"),
        (options, "0 segmented, 2 were"),
        ([], "2 seg"),
    ):
        capsys.readouterr()
        assert main([*command, *asked]) == 0
        assert done in capsys.readouterr().err


def test_all_that_can_be_asked_for_is_written(tiny_package, folder):
    out = folder / "out"
    command = [str(tiny_package), str(folder / "in" / "a.tif"), "-o", str(out)]
    options = ["--format", "png,overlay,probabilities", "--format", "json,uncertainty-npz"]
    assert main([*command, *options, "--mirror", "--measurements"]) == 0
    assert written(out) == [
        "a.json",
        "a.overlay.png",
        "a.png",
        "a.probabilities.tif",
        "a.uncertainty.npz",
        "measurements.csv",
        "quality.csv",
    ]
    mask = read_mask(out / "a.png")
    probabilities = read_image(out / "a.probabilities.tif")
    assert probabilities.channels == 3
    assert (probabilities.array.argmax(axis=0) == mask.array).mean() > 0.99
    measured = list(csv.DictReader((out / "measurements.csv").open(newline="")))
    assert [row["name"] for row in measured] == ["cytoplasm", "nucleus"]
    assert int(measured[0]["pixels"]) == (mask.array == 1).sum()


@pytest.mark.parametrize(
    ("format", "suffix", "error"),
    [("nifti", ".nii.gz", 2.0**-11), ("tiff", ".tif", 0), ("npz", ".npz", 0)],
)
def test_maps_are_the_predictor_s_in_every_format(tiny_package_3d, tmp_path, format, suffix, error):
    affine = np.array([[0, 0.5, 0, 3.0], [-0.5, 0, 0, 4], [0, 0, 2, 5], [0, 0, 0, 1]])
    array = default_rng(0).integers(0, 255, (1, 9, 20, 20)).astype(np.uint8)
    image = Image(array, (2.0, 0.5, 0.5), affine)
    write_image(tmp_path / "ct.nii.gz", image)
    command = [str(tiny_package_3d), str(tmp_path / "ct.nii.gz"), "-o", str(tmp_path / "out")]
    kinds = ("probabilities", "uncertainty", "disagreement")
    formats = ",".join(f"{kind}-{format}" for kind in kinds)
    assert main([*command, "--mirror", "--format", formats]) == 0
    predictor = Predictor(ModelPackage.load(tiny_package_3d), mirror=True)
    expected = predictor.segment(image, maps=kinds).maps
    for kind in kinds:
        file = tmp_path / "out" / f"ct.{kind}{suffix}"
        if format == "npz":
            read = np.load(file)
            assert read["probabilities"].dtype == np.float16
            found = Image(read["probabilities"], tuple(read["spacing"]), read["affine"])
        else:
            found = read_image(file, dims=3)
        assert found.spacing == image.spacing
        assert (found.affine is None) == (format == "tiff")
        if found.affine is not None:
            np.testing.assert_allclose(found.affine, affine)
        np.testing.assert_allclose(found.array, expected[kind].array, atol=error, rtol=0)


def test_a_finished_map_is_skipped_and_a_damaged_one_is_made_again(tiny_package, folder, capsys):
    command = [str(tiny_package), str(folder / "in"), "--out", str(folder / "out")]
    command += ["--format", "uncertainty,probabilities-npz"]
    assert main(command) == 0
    files = {name: folder / "out" / name for name in ("a.uncertainty.tif", "b.probabilities.npz")}
    whole = {name: file.read_bytes() for name, file in files.items()}
    for name, file in files.items():
        file.write_bytes(whole[name][: len(whole[name]) // 2])
    capsys.readouterr()
    assert main(command) == 0
    assert "2 segmented" in capsys.readouterr().err
    assert {name: file.read_bytes() for name, file in files.items()} == whole
    assert main(command) == 0
    assert "2 were finished before" in capsys.readouterr().err


def test_disagreement_of_one_network_is_refused_in_one_sentence(tiny_package, folder, capsys):
    command = [str(tiny_package), str(folder / "in"), "--out", str(folder / "out")]
    assert main([*command, "--format", "disagreement"]) == 2
    assert "error: disagreement needs several voices" in capsys.readouterr().err


def test_nested_folders_come_out_as_they_went_in(tiny_package, folder):
    write_image(folder / "in" / "deep" / "a.tif", Image(np.full((1, 40, 50), 128, np.uint8)))
    command = [str(tiny_package), str(folder / "in"), "--out", str(folder / "out"), "-r"]
    assert main(command) == 0
    assert written(folder / "out") == ["a.png", "b.png", "deep/a.png", "quality.csv"]


def test_no_mask_takes_the_place_of_an_image(tiny_package, folder, capsys):
    image = folder / "in" / "a.tif"
    before = image.read_bytes()
    command = [str(tiny_package), str(image), "--out", str(folder / "in"), "--format", "tiff"]
    assert main(command) == 2
    assert "the mask of a would overwrite" in capsys.readouterr().err
    assert image.read_bytes() == before


def test_an_image_unlike_the_training_is_warned_of(tiny_package, folder, capsys):
    write_image(folder / "in" / "small.tif", Image(np.eye(5, dtype=np.uint8)[None]))
    assert main([str(tiny_package), str(folder / "in"), "--out", str(folder / "out")]) == 0
    assert "warning: small: the image measures 5 pixels along y" in capsys.readouterr().err
    rows = rows_of(folder / "out" / "quality.csv")
    assert "5 pixels along y" in rows["small"]["warnings"]
    assert rows["a"]["warnings"] == ""


def test_a_predicted_dice_stands_in_the_table(tiny_package, folder):
    package = ModelPackage.load(shutil.copytree(tiny_package, folder / "package"))
    dice = {"nucleus": DiceCalibration(offset=-1, expected_error=0.03)}
    write_card(package.path, package.card.model_copy(update={"quality": SelfAssessment(dice=dice)}))
    assert main([str(package.path), str(folder / "in"), "--out", str(folder / "out")]) == 0
    row = rows_of(folder / "out" / "quality.csv")["a"]
    assert 0 < float(row["predicted_dice_nucleus"]) < 1
    assert row["expected_error_nucleus"] == "0.03"


def test_volumes_get_volumes(tiny_package_3d, tmp_path):
    image = Image(default_rng(0).integers(0, 255, (1, 9, 20, 20)).astype(np.uint8), (2.0, 1.0, 1.0))
    write_image(tmp_path / "in" / "ct.nii.gz", image)
    command = [str(tiny_package_3d), str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert written(tmp_path / "out") == ["ct.nii.gz", "quality.csv"]
    assert main([*command, "--format", "png"]) == 2


def test_without_ray_one_sentence_says_what_to_install(tiny_package, folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    command = [str(tiny_package), str(folder / "in"), "--out", str(folder / "out"), "--ray"]
    assert main(command) == 2
    assert "pip install --editable '.[ray]'" in capsys.readouterr().err


def test_an_image_too_large_for_the_memory_stays_in_its_file(
    tiny_package, folder, capsys, monkeypatch
):
    small = Limits(max_pixels=1500)
    monkeypatch.setattr("seg.predict.work.read_channels", partial(read_channels, limits=small))
    command = [str(tiny_package), str(folder / "in"), "--out", str(folder / "out")]
    assert main([*command, "--format", "tiff"]) == 0
    image = read_image(folder / "in" / "a.tif")
    expected = Predictor(ModelPackage.load(tiny_package)).segment(image)
    np.testing.assert_array_equal(read_mask(folder / "out" / "a.tif").array, expected.mask.array)
    row = rows_of(folder / "out" / "quality.csv")["a"]
    assert float(row["uncertainty"]) == pytest.approx(expected.quality.uncertainty, abs=1e-3)
    for formats in ("png", "tiff,uncertainty"):
        assert main([*command, "--format", formats]) == 1
        assert "with --format tiff or nifti or geojson or rle or csv" in capsys.readouterr().err


def test_tables_and_outlines_of_a_slide_are_those_of_a_picture(tiny_package, folder, monkeypatch):
    options = ["--format", "tiff,geojson,rle,csv,json", "--measurements"]
    command = [str(tiny_package), str(folder / "in"), *options, "--out"]
    assert main([*command, str(folder / "whole")]) == 0
    small = Limits(max_pixels=1500)
    monkeypatch.setattr("seg.predict.work.read_channels", partial(read_channels, limits=small))
    assert main([*command, str(folder / "streamed")]) == 0
    assert written(folder / "whole") == written(folder / "streamed")
    for name in ("a.json", "a.csv", "measurements.csv"):
        whole, streamed = ((folder / each / name).read_text() for each in ("whole", "streamed"))
        assert whole == streamed
    counted = []
    for each in ("whole", "streamed"):
        features = json.loads((folder / each / "a.geojson").read_text())["features"]
        coco = json.loads((folder / each / "a.rle.json").read_text())
        assert coco["images"][0]["file_name"] == "a.tif"
        areas = sorted(each["properties"]["measurements"]["Area px^2"] for each in features)
        assert areas == sorted(each["area"] for each in coco["annotations"])
        counted.append(areas)
    assert counted[0] == counted[1]


def test_objects_of_a_slide_are_those_of_a_picture(folder, monkeypatch):
    package = write_package(folder / "cells", objects=True)
    formats = "instances,objects,objects-csv,objects-geojson,instances-zarr"
    command = [str(package), str(folder / "in"), "--format", formats, "--out"]
    assert main([*command, str(folder / "whole")]) == 0
    small = Limits(max_pixels=1500)
    monkeypatch.setattr("seg.predict.work.read_channels", partial(read_channels, limits=small))
    assert main([*command, str(folder / "streamed")]) == 0
    assert written(folder / "whole") == written(folder / "streamed")
    for name in ("objects.csv", "a.objects.csv", "a.objects.json", "a.instances.ome.zarr.zip"):
        whole, streamed = ((folder / each / name).read_bytes() for each in ("whole", "streamed"))
        assert whole == streamed, name
    assert len((folder / "whole" / "objects.csv").read_text().splitlines()) > 2
    again = (folder / "streamed" / "objects.csv").read_bytes()
    assert main([*command, str(folder / "streamed")]) == 0
    assert (folder / "streamed" / "objects.csv").read_bytes() == again


def test_each_moment_is_a_case_and_wells_are_added_up(tmp_path, capsys):
    package = write_package(tmp_path / "cells", objects=True)
    (tmp_path / "in").mkdir()
    moments = np.stack([two_that_touch().array[0]] * 3)
    moments[1] = 0
    for well in ("A01", "B02"):
        tifffile.imwrite(
            tmp_path / "in" / f"{well}.ome.tif", moments, ome=True, metadata={"axes": "TYX"}
        )
    (tmp_path / "in" / "C03.tif").write_bytes(b"II*\0 no more")
    (tmp_path / "doses.csv").write_text("well,dose\nA01,0\nB02,10\n")
    out = tmp_path / "out"
    command = [str(package), str(tmp_path / "in"), "--out", str(out), "--each", "t", "--plate"]
    assert main([*command, str(tmp_path / "doses.csv"), "--format", "instances"]) == 1
    assert [path.name for path in sorted(out.glob("*.tif"))] == [
        f"{well}_t{number}.tif" for well in ("A01", "B02") for number in range(3)
    ]
    assert tifffile.imread(out / "A01_t0.tif").max() > 0
    assert tifffile.imread(out / "A01_t1.tif").max() == 0
    first, second, third = csv.DictReader((out / "plate.csv").open())
    assert (first["well"], first["dose"], first["images"]) == ("A01", "0", "3")
    found = [(row["case"], row["class"]) for row in csv.DictReader((out / "objects.csv").open())]
    nuclei = [case for case, name in found if name == "nucleus" and case.startswith("A01")]
    assert set(nuclei) == {"A01_t0", "A01_t2"}
    assert int(first["objects_nucleus"]) == len(nuclei)
    assert int(first["low_nucleus"]) <= int(first["objects_nucleus"]) <= int(first["high_nucleus"])
    assert second["dose"] == "10"
    assert (third["well"], third["images_failed"]) == ("C03", "1")
    assert main([*command, str(tmp_path / "doses.csv")]) == 2
    assert "--plate adds objects up" in capsys.readouterr().err


def test_files_left_out_are_said_in_words_in_the_table_and_by_the_status(
    tiny_package, folder, capsys
):
    (folder / "in" / "c.czi").write_bytes(b"ZISRAWFILE")
    command = [str(tiny_package), str(folder / "in"), "--out", str(folder / "out")]
    assert main(command) == 3
    assert "1 file left out (1 .czi), no images that are read: c.czi" in capsys.readouterr().err
    rows = rows_of(folder / "out" / "quality.csv")
    assert rows[str(folder / "in" / "c.czi")]["left_out"] == "no image that is read"
    (folder / "in" / "c.czi").unlink()
    assert main(command) == 0
    assert set(rows_of(folder / "out" / "quality.csv")) == {"a", "b"}


def two_that_touch():
    y, x = np.mgrid[:40, :60]
    inside = (np.hypot(y - 20, x - 20) < 9) | (np.hypot(y - 20, x - 36) < 9)
    return Image((220 * inside).astype(np.uint8)[None])


def test_split_parts_objects_that_touch_and_is_never_on_by_itself(tiny_package, tmp_path, capsys):
    write_image(tmp_path / "a.tif", two_that_touch())
    command = [str(tiny_package), str(tmp_path / "a.tif"), "--format", "instances"]
    found = {}
    for name, options in (("plain", []), ("split", ["--split"])):
        assert main([*command, *options, "--out", str(tmp_path / name)]) == 0
        with (tmp_path / name / "objects.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        found[name] = [row for row in rows if row["class"] == "nucleus"]
        labels = tifffile.imread(tmp_path / name / "a.tif")
        assert labels.dtype == np.uint32
        assert labels.max() == len(rows)
    assert [len(found[name]) for name in ("plain", "split")] == [1, 2]
    # a run with other options is done anew
    assert main([*command, "--split", "--out", str(tmp_path / "plain")]) == 0
    assert "1 segmented" in capsys.readouterr().err


def test_split_without_objects_to_split_is_refused(tiny_package, folder, capsys):
    command = [str(tiny_package), str(folder / "in"), "--out", str(folder / "out"), "--split"]
    assert main(command) == 2
    assert "ask for them too, as with --format instances" in capsys.readouterr().err
