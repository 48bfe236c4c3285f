import json

import numpy as np
import PIL.Image
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools.coco import COCO
from torchvision.datasets import CocoDetection

from seg.images import ClassInfo, Image, Mask, encode_mask, read_image

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


def test_there_is_one_annotation_a_part(classes):
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[1, 1:3, 2:5] = 2
    labels[1, 0, 0] = labels[1, 3, 0] = labels[2, 3, 3] = 1
    loaded = coco(Mask(labels), classes)
    images = loaded.loadImgs(loaded.getImgIds())
    assert [image["slice"] for image in images] == [0, 1, 2]
    places = {image["id"]: image["slice"] for image in images}
    found = loaded.loadAnns(loaded.getAnnIds())
    told = sorted((places[a["image_id"]], a["category_id"], a["bbox"]) for a in found)
    assert told == [
        (1, 1, [0, 0, 1, 1]),
        (1, 1, [0, 3, 1, 1]),
        (1, 2, [2, 1, 3, 2]),
        (2, 1, [3, 3, 1, 1]),
    ]
    assert loaded.loadCats([1, 2]) == [
        {"id": 1, "name": "nucleus", "color": [255, 0, 0]},
        {"id": 2, "name": "cytoplasm", "color": [0, 128, 255]},
    ]


def test_files_of_several_images_can_be_merged(classes):
    labels = np.zeros((8, 8), np.uint8)
    labels[1:3, 1:3] = labels[5:7, 5:7] = 1
    merged = {"images": [], "annotations": []}
    for name in ("a.png", "b.png"):
        image = Image(np.zeros((1, 8, 8), np.uint8), file_name=name)
        found = json.loads(encode_mask(Mask(labels), "rle", classes, image))
        for key, entries in merged.items():
            entries += found[key]
    assert [image["file_name"] for image in merged["images"]] == ["a.png", "b.png"]
    for entries in merged.values():
        numbers = [entry["id"] for entry in entries]
        assert len(set(numbers)) == len(numbers)
        assert all(0 < number < 2**53 for number in numbers)


def test_torchvision_reads_it(tmp_path, classes):
    labels = np.zeros((8, 9), np.uint8)
    labels[1:3, 1:3] = labels[5:7, 5:7] = 1
    PIL.Image.fromarray(labels).save(tmp_path / "two.png")
    image = read_image(tmp_path / "two.png")
    (tmp_path / "two.json").write_bytes(encode_mask(Mask(labels), "rle", classes, image))
    ((picture, objects),) = CocoDetection(tmp_path, str(tmp_path / "two.json"))
    assert picture.size == (9, 8)
    assert [each["category_id"] for each in objects] == [1, 1]
