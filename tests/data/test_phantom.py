import json

import nibabel
import numpy as np
import pytest
import tifffile

from data.phantom import draw
from seg.errors import ConfigError


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def otsu(image):
    """Threshold of the largest variance between the two sides, tried at 200 places."""
    places = np.quantile(image, np.linspace(0.005, 0.995, 200))
    above = [image > place for place in places]
    spread = [a.mean() * (1 - a.mean()) * (image[a].mean() - image[~a].mean()) ** 2 for a in above]
    return above[int(np.argmax(spread))]


def pixels(folder):
    return {file.name: tifffile.imread(file).tolist() for file in folder.rglob("*.tif")}


def test_the_same_seed_draws_the_same_cases_and_another_seed_others(tmp_path):
    one, two, three = (
        pixels(draw(tmp_path / name, cases=2, size=(32, 32), seed=seed))
        for name, seed in (("one", 3), ("two", 3), ("three", 4))
    )
    assert one == two
    assert one.keys() == three.keys()
    assert all(one[name] != three[name] for name in one)


def test_the_last_quarter_of_the_cases_is_the_test_split(tmp_path):
    folder = draw(tmp_path / "phantom", cases=8, size=(16, 16))
    assert len(list((folder / "labelsTr").iterdir())) == 6
    assert len(list((folder / "imagesTs").iterdir())) == 2 * 2
    card = json.loads((folder / "dataset.json").read_text())
    assert card["numTraining"] == 6
    assert card["labels"] == {"background": 0, "cytoplasm": 1, "nucleus": 2}


def test_volumes_carry_their_anisotropic_spacing(tmp_path):
    folder = draw(tmp_path / "phantom", dims=3, cases=2, size=(6, 20, 24))
    volume = nibabel.load(folder / "imagesTr" / "phantom_000_0000.nii.gz")
    assert volume.shape == (24, 20, 6)
    np.testing.assert_allclose(volume.header.get_zooms(), (1, 1, 3))


def test_every_nucleus_lies_inside_a_cell_and_all_classes_occur(tmp_path):
    folder = draw(tmp_path / "phantom", cases=2, size=(96, 96))
    labels = tifffile.imread(folder / "labelsTr" / "phantom_000.tif")
    assert set(np.unique(labels)) == {0, 1, 2}
    beside = np.argwhere(labels[1:-1, 1:-1] == 2)[:, None] + np.argwhere(np.ones((3, 3)))
    around = labels[beside[..., 0], beside[..., 1]]
    assert (around > 0).mean() > 0.95


def test_one_threshold_finds_part_of_the_nuclei_only(tmp_path):
    folder = draw(tmp_path / "phantom", cases=4, size=(128, 128))
    scores = []
    for file in sorted((folder / "labelsTr").iterdir()):
        image = tifffile.imread(folder / "imagesTr" / file.name.replace(".tif", "_0000.tif"))
        scores.append(dice(otsu(image), tifffile.imread(file) == 2))
    assert 0.1 < np.mean(scores) < 0.75


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        pytest.param({"cases": 1}, "a case to train and one to test", id="one case"),
        pytest.param({"size": (8, 32)}, r"at least \(16, 16\)", id="too small"),
        pytest.param({"dims": 3, "size": (32, 32)}, "a 3D phantom", id="an axis too few"),
    ],
)
def test_a_drawing_that_cannot_work_is_refused(tmp_path, asked, words):
    with pytest.raises(ConfigError, match=words):
        draw(tmp_path / "phantom", **asked)
