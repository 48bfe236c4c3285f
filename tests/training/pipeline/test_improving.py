"""A package trained on with corrections: compared on what neither package has learned from."""

import numpy as np
import pytest
import tifffile

from seg.model_package import ModelPackage
from tests.instances import instance_folder, json_of
from training.dataset import load_dataset
from training.dataset.cases import image_digest
from training.fit import main as fit
from training.improve import main as improve

STEPS = ["--steps", "3", "--network", "resunet-xs", "--patch", "32", "32", "--batch-size", "2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Few drawn cells, most of them left open, and a package that hardly learned of them."""
    folder = tmp_path_factory.mktemp("improving")
    data = instance_folder(folder / "data", cases=4, text="masks: instances\nignore: 999\n")
    for path in sorted((data / "masks").iterdir())[1:]:
        numbers = tifffile.imread(path)
        numbers[:, 48:] = 999
        tifffile.imwrite(path, numbers)
    assert fit([str(data), "--out", str(folder / "run"), *STEPS]) == 0
    return folder


def test_both_packages_are_scored_on_held_back_images_and_only_the_better_is_proposed(place):
    before, out = ModelPackage.load(place / "run" / "package"), place / "out"
    data = place / "data"
    test = load_dataset(data).test[0]
    numbers = tifffile.imread(test.mask)
    numbers[:4, :4] = numbers.max() + 1 if numbers.max() < 999 else 998  # a correction
    tifffile.imwrite(test.mask, numbers.astype(np.uint16))
    command = [str(data), "--from", str(place / "run" / "package"), "--out", str(out)]
    assert improve([*command, "--steps", "2"]) == 0
    proposal = json_of(out / "proposal.json")
    assert proposal["before"] == f"{before.card.name}:{before.card.version}"
    assert proposal["cases"] == 1
    assert proposal["decision"] in ("perhaps", "not better"), "one image proves nothing"
    assert (proposal["package"] is None) == (proposal["decision"] == "not better")
    assert proposal["says"] in (out / "report.md").read_text()
    after = ModelPackage.load(out / "run" / "package").card
    assert image_digest(test) not in after.provenance.trained_on
    assert json_of(out / "comparison.json")["cases"] == [test.name]


def test_without_a_held_back_image_nothing_is_trained(place, capsys, tmp_path):
    package = ModelPackage.load(place / "run" / "package")
    data = load_dataset(place / "data")
    seen = tmp_path / "seen"
    for part, paths in (
        ("images", [case.images[0] for case in data.train]),
        ("masks", [case.mask for case in data.train]),
    ):
        (seen / part).mkdir(parents=True)
        for path in paths:
            (seen / part / path.name).write_bytes(path.read_bytes())
    (seen / "dataset.yaml").write_text("masks: instances\nignore: 999\n")
    command = [str(seen), "--from", str(place / "run" / "package"), "--out", str(tmp_path / "o")]
    assert improve(command) == 2
    assert package.card.provenance.trained_on
    assert len(package.card.provenance.trained_contents) == len(package.card.provenance.trained_on)
    assert not (tmp_path / "o").exists()
