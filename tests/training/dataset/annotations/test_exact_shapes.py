"""Which pixels a shape has, judged by formulas of its own; and what is no shape or no class."""

import json

import numpy as np
import pytest
import shapely
from pycocotools import mask as coco_mask
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi, roiwrite

from seg.errors import ImageError
from tests.datasets import write_png
from tests.training.dataset.annotations.files import HEIGHT, WIDTH, cell, flat
from tests.training.dataset.annotations.test_odd_files import IMAGE, coco, labelme, painted
from training.dataset import IGNORE, load_dataset, look_into
from training.dataset.annotations.coco import read_coco
from training.dataset.annotations.imagej import read_imagej

Y, X = np.mgrid[:HEIGHT, :WIDTH] + 0.5
SQUARE = [[3, 3], [9, 3], [9, 9], [3, 9]]
NAMES = ("a", "b", "c")


def box(kind, **more):
    roi = ImagejRoi(roitype=kind, top=2, left=3, bottom=18, right=23, version=228)
    for name, value in more.items():
        setattr(roi, name, value)
    return roi


BETWEEN = {
    "options": ROI_OPTIONS.SUB_PIXEL_RESOLUTION,
    "xd": 3.7,
    "yd": 2.6,
    "widthd": 19.9,
    "heightd": 15.9,
}
ROUND = shapely.box(3 + 4, 2 + 4, 23 - 4, 18 - 4).buffer(4, quad_segs=64)


@pytest.mark.parametrize(
    ("roi", "inside"),
    [
        (box(ROI_TYPE.OVAL), ((X - 13) / 10) ** 2 + ((Y - 10) / 8) ** 2 <= 1),
        (box(ROI_TYPE.RECT, **BETWEEN), (X > 3.7) & (X < 23.6) & (Y > 2.6) & (Y < 18.5)),
        (
            box(ROI_TYPE.OVAL, **BETWEEN),
            ((X - 13.65) / 9.95) ** 2 + ((Y - 10.55) / 7.95) ** 2 <= 1,
        ),
        (box(ROI_TYPE.RECT, rounded_rect_arc_size=8), shapely.contains_xy(ROUND, X, Y)),
    ],
    ids=["oval", "box between pixels", "oval between pixels", "rounded box"],
)
def test_boxes_and_ovals_of_imagej_have_the_pixels_that_they_were_drawn_around(
    roi, inside, tmp_path
):
    (tmp_path / "a.roi").write_bytes(roi.tobytes())
    found = painted(read_imagej(tmp_path / "a.roi")) > 0
    assert np.count_nonzero(found != inside) <= 2  # an oval has corners here


def test_a_text_on_an_image_is_no_region_of_it(tmp_path):
    text = box(ROI_TYPE.RECT, subtype=ROI_SUBTYPE.TEXT, text="mitosis?", text_name="SansSerif")
    roiwrite(tmp_path / "a.zip", [text, ImagejRoi.frompoints(SQUARE)])
    annotated = read_imagej(tmp_path / "a.zip")
    assert annotated.left_out == {"text": 1}
    assert painted(annotated).sum() == 36


def test_names_that_cellpose_gives_its_regions_are_no_classes(tmp_path):
    for index, name in enumerate(NAMES):
        write_png(tmp_path / f"{name}.png", np.full((HEIGHT, WIDTH), index))
        squares = [np.add(SQUARE, (8 * at, 0)) for at in range(2)]
        rois = [ImagejRoi.frompoints(each) for each in squares]
        rois[0].name = "12345678-ed06-11f1-85cc-02fc00000001"  # one that begins like ours
        roiwrite(tmp_path / f"{name}_rois.zip", rois)
    assert [info.name for info in load_dataset(tmp_path).classes] == ["background", "object"]


def test_many_lengths_of_runs_come_back():
    noise = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.5
    for mask in (cell(), noise, np.zeros_like(noise), np.ones_like(noise)):
        runs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        raw = coco([]) | {"annotations": [{"id": 0, "image_id": 0, "category_id": 1}]}
        raw["annotations"][0]["segmentation"] = runs | {"counts": runs["counts"].decode()}
        np.testing.assert_array_equal(painted(read_coco(raw)), mask)


@pytest.mark.parametrize(
    "counts",
    [
        "",
        "05",
        "zzzz",
        "o",
        "\x7f0",
        "P" * 9 + "0",
        [100, -50, HEIGHT * WIDTH - 50],
        [100, 1 << 40],
    ],
)
def test_run_lengths_that_leave_pixels_open_are_refused(counts):
    raw = coco([])
    raw["annotations"][0]["segmentation"] = {"size": [HEIGHT, WIDTH], "counts": counts}
    with pytest.raises(ImageError):
        read_coco(raw)


def crowded():
    raw = coco(flat(SQUARE), [0, 0, WIDTH, 0, WIDTH, 12, 0, 12])
    raw["annotations"][1]["iscrowd"] = 1
    return raw


def test_a_crowd_hides_no_object_that_somebody_outlined():
    (drawing,) = read_coco(crowded()).drawings.values()
    assert np.count_nonzero(drawing.numbered(IMAGE)) == 36
    assert drawing.hidden(IMAGE) == 0


def test_a_crowd_is_ignored_where_objects_are_told_apart(tmp_path):
    for index, name in enumerate(NAMES):
        write_png(tmp_path / f"{name}.png", np.full((HEIGHT, WIDTH), index))
    raw = crowded() | {"images": [
        {"id": i, "file_name": f"{n}.png", "height": HEIGHT, "width": WIDTH}
        for i, n in enumerate(NAMES)
    ]}  # fmt: skip
    raw["annotations"] = [
        each | {"id": 2 * i + k, "image_id": i}
        for i in range(len(NAMES))
        for k, each in enumerate(raw["annotations"])
    ]
    (tmp_path / "coco.json").write_text(json.dumps(raw))
    case = load_dataset(tmp_path).cases[0]
    assert np.bincount(load_dataset(tmp_path).read(case)[1].array.ravel())[-1] == 12 * WIDTH
    (tmp_path / "dataset.yaml").write_text("masks: instances\n")
    dataset = load_dataset(tmp_path)
    mask = dataset.read(dataset.cases[0])[1].array
    assert (mask == 1).sum() == 36
    assert (mask == IGNORE).sum() == 12 * WIDTH - 36


@pytest.mark.parametrize(
    ("yaml", "names", "is_told"),
    [
        ("", ["cell 1", "cell 2", "cell 3", "cell 4"], True),
        ("", ["cell1", "cell1", "cell2", "cell3", "cell4"], False),
        ("", ["grade 1", "grade 2"], False),
        ("classes: [background, L1, L2, L3, L4]\n", ["L1", "L2", "L3", "L4"], False),
    ],
)
def test_classes_that_look_like_numbers_of_objects_are_told(yaml, names, is_told, tmp_path):
    for index, image in enumerate(NAMES):
        write_png(tmp_path / f"{image}.png", np.full((HEIGHT, WIDTH), index))
        shapes = [
            ("polygon", [[6 * at, 2], [6 * at + 4, 2], [6 * at, 9]], name)
            for at, name in enumerate(names)
        ]
        raw = labelme(*shapes) | {"imagePath": f"{image}.png"}
        (tmp_path / f"{image}.json").write_text(json.dumps(raw))
    (tmp_path / "dataset.yaml").write_text(yaml or "name: x\n")
    told = " ".join(each.problem for each in look_into(tmp_path)[1])
    assert ("look like numbers of objects" in told) is is_told
