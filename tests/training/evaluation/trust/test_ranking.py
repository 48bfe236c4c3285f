"""Images without a mask, in the order in which annotating them is worth most."""

import shutil

from tests.instances import instance_folder, json_of
from tests.packages import write_package
from training.rank import main


def test_images_that_nobody_annotated_are_ranked_within_a_budget(tmp_path, capsys):
    folder = instance_folder(tmp_path / "data", cases=5)
    for name in ("well_1", "well_3", "well_4"):
        (folder / "masks" / f"{name}.tif").unlink()
    shutil.copy(folder / "images" / "well_1.tif", folder / "images" / "well_9.tif")
    package = write_package(tmp_path / "package", objects=True)
    command = [str(folder), "--package", str(package), "--provider", "cpu"]
    assert main([*command, "--json", str(tmp_path / "order.json")]) == 0
    order = [row["image"] for row in json_of(tmp_path / "order.json")]
    assert sorted(order) == ["well_1", "well_3", "well_4", "well_9"]
    assert {order[-1]} < {"well_1", "well_9"}, "no two alike"
    assert "well_3" in capsys.readouterr().out
    assert main([*command, "--minutes", "0.1", "--json", str(tmp_path / "one.json")]) == 0
    assert [row["image"] for row in json_of(tmp_path / "one.json")] == order[:1]


def test_a_folder_in_which_all_is_annotated_has_nothing_to_rank(tmp_path, capsys):
    folder = instance_folder(tmp_path / "data", cases=2)
    package = write_package(tmp_path / "package")
    assert main([str(folder), "--package", str(package)]) == 2
    assert "there is none to rank" in capsys.readouterr().err
