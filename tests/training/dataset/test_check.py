"""The command: what it prints, draws and returns."""

import json

import numpy as np
from PIL import Image as Picture

from data.phantom import draw
from tests.datasets import mask_values, plain_folder, write_png
from training.check import main
from training.dataset import Finding, load_dataset
from training.dataset.look import DatasetLook, as_json, as_text, in_few_lines


def test_a_sound_dataset_is_described_and_returns_0(tmp_path, capsys):
    assert main([str(draw(tmp_path / "cells", cases=4, size=(40, 48)))]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(
        "phantom: 3 cases to train on, 1 held out; 2D, channels nuclei, cells"
    )
    assert printed.endswith("0 errors, 0 warnings\n")


def test_files_with_the_same_problem_are_told_together_and_return_1(tmp_path, capsys):
    plain_folder(tmp_path, cases=9)
    for index in range(7):
        write_png(tmp_path / "masks" / f"a{index}.png", mask_values(255, size=(4, 5)))
    assert main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert printed.count("the same size, got (4, 6) and (4, 5)") == 1
    assert "         masks/a0.png\n" in printed
    assert "and 2 more" in printed
    assert "-> resample the mask onto the image's grid" in printed
    assert "7 errors, 9 warnings" in printed  # the images are flat


def test_what_some_of_the_things_of_many_files_have_is_one_line_with_their_sum(tmp_path):
    dataset = load_dataset(draw(tmp_path / "cells", cases=3, size=(40, 48)))
    what = "objects are in several pieces"
    findings = [
        Finding.counted(str(dataset.folder / file), some, count, what, "number each")
        for file, some, count in (("a.tif", 4, 75), ("b.tif", 3, 81), ("c.tif", 1, 20))
    ]
    other = Finding("warning", str(dataset.folder / "b.tif"), "nobody annotated it", "do")
    assert in_few_lines(dataset, [*findings, other]) == [
        "a.tif and 2 more: 8 of 176 objects are in several pieces; number each",
        "b.tif: nobody annotated it; do",
        f"python -m training.check {dataset.folder} lists them file by file",
    ]
    told = as_text(DatasetLook(dataset, findings))
    assert "warning  8 of 176 objects are in several pieces\n" in told
    assert "         b.tif: 3 of 81\n" in told
    assert told.endswith("0 errors, 3 warnings")
    (first, *_) = as_json(DatasetLook(dataset, findings))["findings"]
    assert (first["problem"], first["counts"]) == (f"4 of 75 {what}", (4, 75))


def test_json_has_every_finding_by_itself(tmp_path, capsys):
    plain_folder(tmp_path, cases=4)
    (tmp_path / "masks" / "a0.png").unlink()
    assert main([str(tmp_path), "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed["classes"] == ["background", "class_1"]
    errors = [each for each in printed["findings"] if each["severity"] == "error"]
    assert errors == [
        {
            "severity": "error",
            "where": str(tmp_path / "images" / "a0.png"),
            "problem": "no mask is called a0",
            "advice": "add it or remove this",
        }
    ]


def test_what_is_no_dataset_is_one_sentence_and_returns_2(tmp_path, capsys):
    assert main([str(tmp_path / "none")]) == 2
    assert main([str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 2


def test_the_picture_shows_masks_in_the_colors_of_their_classes(tmp_path):
    folder = draw(tmp_path / "cells", cases=3, size=(40, 48))
    edited = json.loads((folder / "dataset.json").read_text())
    edited["colors"] = {"cytoplasm": [0, 0, 255], "nucleus": [255, 0, 0]}
    (folder / "dataset.json").write_text(json.dumps(edited))
    assert main([str(folder), "--picture", str(tmp_path / "overview.png")]) == 0
    pixels = np.asarray(Picture.open(tmp_path / "overview.png").convert("RGB")).astype(int)
    for color in ([0, 0, 255], [255, 0, 0]):
        assert (np.abs(pixels - color).sum(axis=2) < 30).sum() > 100


def test_cases_that_cannot_be_drawn_are_left_out_of_the_picture(tmp_path):
    plain_folder(tmp_path, cases=4)
    (tmp_path / "images" / "a1.png").write_bytes(b"no image")
    assert main([str(tmp_path), "--picture", str(tmp_path / "overview.png")]) == 1
    assert (tmp_path / "overview.png").stat().st_size > 1000
