"""``.seg.nrrd``, held against slicerio, which Slicer's own developers keep."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seg.images import ClassInfo, Code, Image, Mask, encode_mask, read_image
from seg.images.itk.slicer import encode_nrrd_layers
from seg.inference import Predictor, encode_output, outputs_for
from seg.model_package import ModelPackage
from tests.packages import write_package
from tests.peers import installed_apart

AFFINE = np.array([[0, 0, 3, 5], [0.8, 0, 0, 7], [0, -1.5, 0, 9], [0, 0, 0, 1.0]])
KIDNEY = ClassInfo(
    index=1,
    name="left kidney",
    color=(200, 100, 0),
    type=Code(value="64033007", meaning="Kidney"),
    laterality=Code(value="7771000", meaning="Left"),
)
TUMOUR = ClassInfo(index=2, name="a | ~ tumour", color=(0, 0, 255))
CLASSES = (ClassInfo(index=0, name="background", color=(0, 0, 0)), KIDNEY, TUMOUR)
SCRIPT = """
import json, sys
import numpy as np, slicerio
found = slicerio.read_segmentation(sys.argv[1])
voxels = found["voxels"]
for segment in found["segments"]:
    layer = voxels if voxels.ndim == 3 else voxels[segment["layer"]]
    segment["voxels"] = np.argwhere(layer == segment["labelValue"]).tolist()
print(json.dumps({"segments": found["segments"], "affine": found["ijkToLPS"].tolist()}))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Folder of Slicer's reader and what it needs."""
    folder = tmp_path_factory.mktemp("library")
    return installed_apart(folder, Path(__file__).parent / "slicerio.txt")


@pytest.fixture(scope="module")
def slicerio(library, tmp_path_factory):
    """What Slicer's reader makes of a file."""
    folder = tmp_path_factory.mktemp("slicerio")

    def read(content):
        (folder / "a.seg.nrrd").write_bytes(content)
        command = [sys.executable, "-c", SCRIPT, str(folder / "a.seg.nrrd")]
        environment = {**os.environ, "PYTHONPATH": str(library)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return read


def where(labels):
    """As Slicer orders voxels: x, y, z."""
    return np.argwhere(np.transpose(labels)).tolist()


def test_slicer_reads_names_terminology_and_voxels_where_they_lie(slicerio):
    labels = np.random.default_rng(0).integers(0, 3, (3, 4, 5)).astype(np.uint8)
    affine = AFFINE * [[-1], [-1], [1], [1]]  # LPS
    found = slicerio(encode_mask(Mask(labels, (3.0, 1.5, 0.8), AFFINE), "nrrd", CLASSES))
    np.testing.assert_allclose(found["affine"], affine)
    kidney, tumour = found["segments"]
    assert kidney["name"] == "left kidney"
    assert kidney["terminology"]["category"] == ["SCT", "123037004", "Anatomical Structure"]
    assert kidney["terminology"]["type"] == ["SCT", "64033007", "Kidney"]
    assert kidney["terminology"]["typeModifier"] == ["SCT", "7771000", "Left"]
    assert tumour["terminology"]["type"][0] == "99SEG"
    assert kidney["voxels"] == where(labels == 1)
    assert tumour["voxels"] == where(labels == 2)


def test_numbers_of_objects_keep_their_32_bits(slicerio):
    numbers = np.zeros((2, 3, 4), np.uint32)
    numbers[1, 2, 3] = 100_000
    content = encode_mask(Mask(np.uint32(numbers > 0), (1.0, 1.0, 1.0)), "nrrd", CLASSES)
    assert b"type: uint32" in content
    assert slicerio(content)["segments"][0]["voxels"] == where(numbers > 0)


def test_regions_that_overlap_stay_whole(slicerio):
    regions = {n: np.zeros((3, 4, 5), bool) for n in (1, 2)}
    regions[1][:, 1:], regions[2][1:, 2:] = True, True
    grid = Mask(np.zeros((3, 4, 5), np.uint8), (3.0, 1.5, 0.8), AFFINE)
    found = slicerio(encode_nrrd_layers(regions, grid, CLASSES))
    assert [each["layer"] for each in found["segments"]] == [0, 1]
    for segment, region in zip(found["segments"], regions.values(), strict=True):
        assert segment["voxels"] == where(region)
    apart = encode_nrrd_layers({1: regions[1], 2: ~regions[1]}, grid, CLASSES)
    assert [each["layer"] for each in slicerio(apart)["segments"]] == [0, 0]


def test_a_model_of_regions_gives_each_region_whole(slicerio, tmp_path):
    package = ModelPackage.load(write_package(tmp_path / "p", patch=(8, 16, 16), task="regions"))
    volume = np.kron(np.arange(60).reshape(3, 4, 5) * 4, np.ones((4, 6, 7))).astype(np.uint8)
    image = Image(volume[np.newaxis], spacing=(3.0, 1.5, 0.8))
    found = Predictor(package).segment(image, maps={"probabilities"})
    read = slicerio(encode_output(found, outputs_for(3)["nrrd-layers"], image))
    cytoplasm, nucleus = ({tuple(place) for place in each["voxels"]} for each in read["segments"])
    assert nucleus
    assert nucleus < cytoplasm  # which the mask cannot say
    painted = {tuple(place) for place in where(found.mask.array == 1)}
    assert painted < cytoplasm


def test_what_slicer_wrote_is_read(library):
    image = read_image(library / "slicerio/data/CTChest4.nrrd", dims=3)
    layers = read_image(library / "slicerio/data/SegmentationOverlapping.seg.nrrd", dims=3)
    assert layers.channels == 2
    assert layers.spatial_shape == image.spatial_shape == (34, 128, 128)
    np.testing.assert_allclose(layers.affine, image.affine)
