import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools.coco import COCO

from seg.images import ClassInfo, Mask, encode_mask

CLASSES = [ClassInfo(index=i, name=f"class {i}", color=(i, 0, 9)) for i in range(256)]
shapes = st.lists(st.integers(1, 9), min_size=2, max_size=3).map(tuple)
masks = shapes.flatmap(lambda shape: arrays.arrays(np.uint8, shape))


def coco(mask, classes=CLASSES):
    """The file as COCO's own class has it once loaded."""
    loaded = COCO()
    loaded.dataset = json.loads(encode_mask(mask, "rle", classes))
    loaded.createIndex()
    return loaded


@settings(max_examples=60, deadline=None)
@given(masks)
def test_cocos_own_reader_finds_the_mask(labels):
    loaded = coco(Mask(labels))
    planes = labels.reshape(-1, *labels.shape[-2:])
    read = np.zeros_like(planes)
    for image in loaded.loadImgs(loaded.getImgIds()):
        assert (image["height"], image["width"]) == planes.shape[1:]
        for annotation in loaded.loadAnns(loaded.getAnnIds(imgIds=image["id"])):
            inside = loaded.annToMask(annotation).astype(bool)
            assert annotation["area"] == inside.sum()
            read[image.get("slice", 0)][inside] = annotation["category_id"]
    np.testing.assert_array_equal(read, planes)


def test_there_is_one_entry_a_class_and_slice_that_has_it(classes):
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[1, 1:3, 2:5] = 2
    labels[1, 0, 0] = labels[2, 3, 3] = 1
    loaded = coco(Mask(labels), classes)
    found = [(a["image_id"], a["category_id"]) for a in loaded.loadAnns(loaded.getAnnIds())]
    assert found == [(2, 1), (2, 2), (3, 1)]
    assert [image["slice"] for image in loaded.loadImgs([1, 2, 3])] == [0, 1, 2]
    assert loaded.loadAnns(2)[0]["bbox"] == [2, 1, 3, 2]
    assert loaded.loadCats([1, 2]) == [
        {"id": 1, "name": "nucleus", "color": [255, 0, 0]},
        {"id": 2, "name": "cytoplasm", "color": [0, 128, 255]},
    ]
