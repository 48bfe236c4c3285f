import numpy as np
import pytest
from numpy.random import default_rng

from seg.images import Image, read_image, read_mask, write_image
from seg.inference import Predictor
from seg.model_package import ModelPackage
from seg.predict import main
from tests.packages import write_package


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


def test_channels_in_files_of_their_own_make_one_mask(folder):
    package = write_package(folder / "package", channels=2)
    for channel in range(2):
        write_image(
            folder / "pair" / f"case_{channel:04d}.tif", Image(np.ones((1, 9, 9), np.uint8))
        )
    assert main([str(package), str(folder / "pair"), "--out", str(folder / "out")]) == 0
    assert [path.name for path in (folder / "out").iterdir()] == ["case.png"]


def test_a_bad_file_is_named_and_the_others_are_done(tiny_package, folder, capsys):
    (folder / "in" / "bad.png").write_bytes(b"no picture")
    assert main([str(tiny_package), str(folder / "in"), "--out", str(folder / "out")]) == 1
    assert "failed: bad: " in capsys.readouterr().err
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(["nothing", "in"], "is no model package", id="no package"),
        pytest.param(["{package}", "nowhere"], "nowhere does not exist", id="no input"),
        pytest.param(["{package}", "{package}"], "no image in", id="folder without images"),
    ],
)
def test_what_cannot_work_is_one_sentence(tiny_package, tmp_path, capsys, arguments, sentence):
    filled = [a.format(package=tiny_package) for a in arguments]
    assert main([*filled, "--out", str(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert sentence in errors
    assert "Traceback" not in errors
