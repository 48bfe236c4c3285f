"""A result that was cut short is no finished case, whatever its format."""

from dataclasses import replace

import numpy as np
import pytest

from seg.images import MASK_FORMATS, MadeBy, Mask, encode_mask
from seg.inference import outputs_for
from seg.model_package import ModelPackage
from seg.objects import OBJECT_FORMATS, Objects, encode_instances
from seg.predict.whole import is_whole
from tests.seg.images.dicom.sources import image_of

DIMS = {"png": 2}


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return image_of(tmp_path_factory.mktemp("series") / "ct", np.eye(3))


@pytest.mark.parametrize("format", MASK_FORMATS)
def test_a_file_is_whole_to_its_last_byte(tmp_path, tiny_package_3d, image, format):
    card = ModelPackage.load(tiny_package_3d).card
    labels = (np.indices(image.spatial_shape).sum(axis=0) % len(card.classes)).astype(np.uint8)
    mask = Mask.on_grid_of(image, labels)
    if format == "png":
        mask = Mask(labels[0])
    content = encode_mask(mask, format, card.classes, image, MadeBy(model="m"))
    output = outputs_for(mask.dims)[format]
    path = tmp_path / f"mask{output.suffix}"
    path.write_bytes(content)
    assert is_whole(path, output, card)
    for kept in {
        len(content) - 1,
        len(content) * 9 // 10,
        len(content) // 2,
        len(content) // 8,
        1,
        0,
    }:
        path.write_bytes(content[:kept])
        assert not is_whole(path, output, card), f"{kept} of {len(content)} bytes"


@pytest.mark.parametrize("format", OBJECT_FORMATS)
def test_a_file_of_objects_is_whole_to_its_last_bytes(tmp_path, tiny_package_3d, image, format):
    card = ModelPackage.load(tiny_package_3d).card
    labels = np.zeros(image.spatial_shape, np.uint32)
    labels[1:3, 1:3, 1:4], labels[3:, 3:, 3:] = 1, 2
    found = Objects(
        labels=labels, classes=np.ones(2, np.uint8), probabilities=np.ones(2, np.float32),
        kinds=card.classes[1:2], spacing=image.spacing, affine=image.affine,
    )  # fmt: skip
    if 3 not in OBJECT_FORMATS[format].dims:
        found = replace(found, labels=labels.max(axis=0), spacing=None, affine=None)
    content = encode_instances(found, format, image if found.dims == 3 else None)
    output = outputs_for(found.dims)[format]
    path = tmp_path / f"objects{output.suffix}"
    path.write_bytes(content)
    assert is_whole(path, output, card)
    for kept in (len(content) * 9 // 10, len(content) // 2, 1, 0):
        path.write_bytes(content[:kept])
        assert not is_whole(path, output, card), f"{kept} of {len(content)} bytes"
