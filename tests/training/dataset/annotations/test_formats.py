"""Every format gives the very pixels that were drawn, and what is not read is named."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from seg.errors import ImageError, UnsupportedImageError
from seg.images import ClassInfo, Image, Mask, encode_mask
from seg.images.outlines.drawing import (
    AnnotatedDrawing,
    Runs,
    Shape,
    ellipse,
    rectangle,
    turned,
)
from seg.images.outlines.label_studio import decode_brush
from seg.objects import OBJECT_FORMATS, Objects, encode_instances
from tests.training.dataset.annotations import files
from tests.training.dataset.annotations.files import HEIGHT, WIDTH, expected
from training.dataset.annotations import coco, geojson
from training.dataset.annotations.cellpose import read_masks
from training.dataset.annotations.formats import read_annotations
from training.dataset.annotations.itk_snap import label_tables, read_labels

IMAGE = Image(np.zeros((1, HEIGHT, WIDTH), np.uint8))
LABELS = {"cell": 1, "nucleus": 2, "object": 1}


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


EACH_TOOL = pytest.mark.parametrize(
    ("name", "make"),
    [
        ("all.json", lambda: files.coco(["a.png"])),
        ("a.json", lambda: files.labelme("a.png")),
        ("annotations.xml", lambda: files.cvat(["a.png"])),
        ("project.json", lambda: files.label_studio(["a.png"])),
        ("a.geojson", files.qupath),
    ],
)


@EACH_TOOL
def test_what_was_drawn_becomes_its_pixels(name, make, tmp_path):
    annotated = read_annotations(written(tmp_path, name, make()))
    (drawing,) = annotated.drawings.values()
    np.testing.assert_array_equal(drawing.painted(IMAGE, LABELS), expected())
    assert set(annotated.classes()) == {"cell", "nucleus"}


@EACH_TOOL
def test_each_shape_is_an_object(name, make, tmp_path):
    (drawing,) = read_annotations(written(tmp_path, name, make())).drawings.values()
    numbers = drawing.numbered(IMAGE)
    for label in (1, 2):
        (number,) = np.unique(numbers[expected() == label])
        np.testing.assert_array_equal(numbers == number, expected() == label)


def test_shapes_of_a_group_are_one_object_and_a_crowd_is_none():
    boxes = [rectangle(x, 0, x + 4, 4) for x in (0, 4, 10, 20)]
    groups = (7, None, 7, None)
    shapes = [
        Shape("cell", (box,), group=group, is_crowd=box is boxes[-1])
        for box, group in zip(boxes, groups, strict=True)
    ]
    row = AnnotatedDrawing(tuple(shapes)).numbered(IMAGE)[0]
    assert row[[0, 5, 11, 21, 29]].tolist() == [1, 2, 1, 0, 0]


def test_shapes_of_slices_are_no_objects_of_a_volume():
    drawing = AnnotatedDrawing((Shape("cell", (rectangle(0, 0, 4, 4),), plane=0),))
    with pytest.raises(ImageError, match="slice by slice"):
        drawing.numbered(Image(np.zeros((1, 3, HEIGHT, WIDTH), np.uint8)))


def test_groups_of_cvat_and_labelme_are_read(tmp_path):
    grouped = json.loads(files.labelme("a.png"))
    for shape in grouped["shapes"]:
        shape["group_id"] = 3
    labelme = read_annotations(written(tmp_path, "a.json", json.dumps(grouped)))
    one = files.cvat(["a.png"]).replace("z_order=", 'group_id="4" z_order=')
    for annotated in (labelme, read_annotations(written(tmp_path, "a.xml", one))):
        (drawing,) = annotated.drawings.values()
        assert np.unique(drawing.numbered(IMAGE)).tolist() == [0, 1]


def test_imagej_s_regions_have_their_names_as_classes(tmp_path):
    files.roi_zip(tmp_path / "a.zip")
    annotated = read_annotations(tmp_path / "a.zip")
    assert annotated.classes() == ("cell", "nucleus")
    drawn = annotated.drawings[""].painted(IMAGE, LABELS)
    np.testing.assert_array_equal(drawn, expected(hole=False))


@pytest.mark.parametrize("format", ["objects-geojson", "objects-coco", "objects-rois"])
def test_objects_that_were_found_are_annotations_with_their_classes_holes_and_pieces(
    format, tmp_path
):
    labels = np.zeros(IMAGE.spatial_shape, np.uint32)
    labels[1:8, 1:8] = 1
    labels[3:6, 3:6] = 0
    labels[4, 4] = 2
    labels[9:11, 2:5] = labels[11, 5] = 3
    kinds = tuple(
        ClassInfo(index=at, name=name, color=(0, 0, 0))
        for at, name in enumerate(("T/B, \u03b1 cell", "nucleus 2"), start=1)
    )
    found = Objects(
        labels=labels, classes=np.array([1, 2, 1], np.uint8),
        probabilities=np.ones(3, np.float32), kinds=kinds, source="a.png",
    )  # fmt: skip
    path = tmp_path / f"a{Path(OBJECT_FORMATS[format].suffix).suffix}"
    path.write_bytes(encode_instances(found, format))
    (drawing,) = read_annotations(path).drawings.values()
    label_of = {kind.name: kind.index for kind in kinds}
    kinds_drawn = np.array([0, 1, 2, 1])[labels]
    np.testing.assert_array_equal(drawing.painted(IMAGE, label_of), kinds_drawn)
    np.testing.assert_array_equal(drawing.numbered(IMAGE), labels)


def test_cellpose_s_objects_are_one_class(tmp_path):
    files.cellpose(tmp_path / "a_seg.npy")
    annotated = read_annotations(tmp_path / "a_seg.npy")
    drawing = annotated.drawings[""]
    np.testing.assert_array_equal(drawing.painted(IMAGE, LABELS), expected() > 0)
    assert np.unique(drawing.numbered(IMAGE)).tolist() == [0, 1, 4]
    assert drawing.are_numbered
    with pytest.raises(ImageError, match="drawn on an image of"):
        drawing.painted(Image(np.zeros((1, 4, 5), np.uint8)), LABELS)
    assert np.unique(read_masks(tmp_path / "a_seg.npy")).tolist() == [0, 1, 4]


class _Harm:
    def __reduce__(self):
        return os.system, ("touch harm",)


@pytest.mark.parametrize("masks", [np.ones((4, 5), np.uint8), _Harm()])
def test_nothing_that_a_cellpose_file_names_is_run(masks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "a_seg.npy", {"masks": masks, "img": _Harm()}, allow_pickle=True)
    if isinstance(masks, _Harm):
        with pytest.raises(ImageError, match="masks are no array"):
            read_annotations(tmp_path / "a_seg.npy")
    else:
        assert read_masks(tmp_path / "a_seg.npy").sum() == 20
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_cellpose_files_of_all_times_are_read(protocol, tmp_path):
    content = np.array({"masks": np.arange(12, dtype=">u2").reshape(3, 4)})
    path = tmp_path / "a_seg.npy"
    np.save(path, content)
    head = path.read_bytes()[: path.read_bytes().index(b"\n") + 1]
    path.write_bytes(head + pickle.dumps(content, protocol=protocol))
    assert read_masks(path).tolist() == np.arange(12).reshape(3, 4).tolist()


@pytest.mark.parametrize("cut", [0, 10, 90, 200])
def test_a_cellpose_file_that_is_cut_off_is_refused(cut, tmp_path):
    files.cellpose(tmp_path / "a_seg.npy")
    whole = (tmp_path / "a_seg.npy").read_bytes()
    (tmp_path / "a_seg.npy").write_bytes(whole[:cut])
    with pytest.raises(ImageError, match="no file of cellpose"):
        read_annotations(tmp_path / "a_seg.npy")


def test_slicer_s_segments_lie_where_the_image_lies(tmp_path):
    part = np.zeros((2, 3, 4), np.uint8)
    part[0, 1, 2] = 1
    part[1, 2, 3] = 5
    other = np.zeros_like(part)
    other[1, 0, 0] = 1
    segments = [("liver", 1, 0), ("vein", 5, 0), ("tumour", 1, 1)]
    # two voxels along x, one along y, three along z: only the part with segments is saved
    files.seg_nrrd(tmp_path / "a.seg.nrrd", [part, other], segments, space_origin=(2, 1, 6))
    annotated = read_annotations(tmp_path / "a.seg.nrrd")
    assert annotated.classes() == ("liver", "vein", "tumour")
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    image = Image(np.zeros((1, 6, 7, 8)), spacing=(2.0, 1.0, 1.0), affine=affine)
    labels = annotated.drawings[""].painted(image, {"liver": 1, "vein": 2, "tumour": 3})
    found = {tuple(map(int, place)): int(labels[tuple(place)]) for place in np.argwhere(labels)}
    assert found == {(3, 2, 4): 1, (4, 3, 5): 2, (4, 1, 2): 3}


def test_a_segmentation_between_the_voxels_is_refused(tmp_path):
    segments = [("liver", 1, 0)]
    layers = [np.ones((2, 3, 4), np.uint8)]
    files.seg_nrrd(tmp_path / "a.seg.nrrd", layers, segments, space_origin=(0.5, 0, 0))
    drawing = read_annotations(tmp_path / "a.seg.nrrd").drawings[""]
    image = Image(np.zeros((1, 2, 3, 4)), affine=np.diag([-1.0, -1.0, 2.0, 1.0]))
    with pytest.raises(ImageError, match="does not lie on the image's grid"):
        drawing.painted(image, {"liver": 1})


def test_itk_snap_s_table_gives_names_and_colours(tmp_path):
    table = "\n".join(
        (
            "################################################",
            "# ITK-SnAP Label Description File",
            '    0     0    0    0        0  0  0    "Clear Label"',
            '    2   255  128    0        1  1  1    "left kidney"',
        )
    )
    written(tmp_path, "labels.txt", table)
    written(tmp_path, "notes.txt", "nothing of it")
    (path,) = label_tables(tmp_path)
    assert [(row.value, row.name, row.color) for row in read_labels(path)] == [
        (0, "Clear Label", (0, 0, 0)),
        (2, "left kidney", (255, 128, 0)),
    ]


@given(
    st.lists(st.integers(0, 2), min_size=12, max_size=12).map(
        lambda values: np.array(values, np.uint8).reshape(3, 4)
    ),
    st.sampled_from(["geojson", "rle"]),
)
def test_our_own_exports_come_back(labels, format):
    classes = [
        ClassInfo(index=i, name=name, color=(0, 0, 0))
        for i, name in enumerate(("background", "cell", "nucleus"))
    ]
    content = json.loads(encode_mask(Mask(labels, spacing=(0.5, 0.25)), format, classes))
    readers = {"geojson": geojson.read_geojson, "rle": coco.read_coco}
    image = Image(np.zeros((1, 3, 4)), spacing=(0.5, 0.25))
    drawing = next(iter(readers[format](content).drawings.values()))
    np.testing.assert_array_equal(drawing.painted(image, LABELS), labels)


@given(st.lists(st.tuples(st.floats(-3, 15), st.floats(-3, 12)), min_size=3, max_size=7))
def test_a_polygon_fills_the_pixels_whose_centres_it_holds(points):
    from shapely import Polygon, contains_xy

    polygon = Polygon(points)
    if not polygon.is_valid:
        return
    y, x = np.mgrid[:10, :12] + 0.5
    edge = np.array([polygon.exterior.distance(p) for p in _points(x, y)]).reshape(10, 12)
    drawn = AnnotatedDrawing((Shape("cell", ((np.array(points),),)),))
    filled = drawn.painted(Image(np.zeros((1, 10, 12))), LABELS) > 0
    differs = filled != contains_xy(polygon, x, y)
    assert not differs[edge > 1e-9].any()


def _points(x, y):
    from shapely import points

    return points(x.ravel(), y.ravel())


def test_an_ellipse_has_the_area_of_one():
    drawn = AnnotatedDrawing((Shape("cell", (turned(ellipse(50, 40, 30, 20), (50, 40), 30),)),))
    area = int((drawn.painted(Image(np.zeros((1, 80, 100))), LABELS) > 0).sum())
    assert area == pytest.approx(np.pi * 30 * 20, rel=0.005)


def test_a_turn_is_clockwise_as_it_is_seen():
    (ring,) = turned(rectangle(0, 0, 4, 2), (0, 0), 90)
    np.testing.assert_allclose(ring, [[0, 0], [0, 4], [-2, 4], [-2, 0]], atol=1e-12)


def test_a_drawing_of_another_image_is_refused(tmp_path):
    drawing = read_annotations(written(tmp_path, "a.json", files.labelme("a.png"))).drawings
    other = Image(np.zeros((1, HEIGHT, WIDTH + 1)))
    with pytest.raises(ImageError, match="drawn on an image of 20 x 30 pixels, the image has 20 x"):
        drawing["a.png"].painted(other, LABELS)


def test_what_has_no_area_is_counted(tmp_path):
    annotated = read_annotations(written(tmp_path, "a.json", files.labelme("a.png")))
    assert annotated.left_out == {"point": 1}


def test_a_brush_stroke_that_is_cut_off_is_refused():
    stroke = files.brush(files.cell())
    assert len(decode_brush(stroke)) == HEIGHT * WIDTH * 4
    with pytest.raises(ImageError, match="cut off"):
        decode_brush(stroke[:-3])


def test_run_lengths_that_do_not_fill_the_image_are_refused():
    counts = coco_mask.encode(np.asfortranarray(np.ones((9, 9), np.uint8)))["counts"]
    with pytest.raises(ImageError, match="do not fill 3 x 3 pixels"):
        Runs((3, 3), counts).pixels()


@pytest.mark.parametrize(
    ("name", "content", "tool"),
    [
        ("a.json", {"_via_img_metadata": {}}, "VGG Image Annotator"),
        ("a.json", {"objects": [], "size": {}, "tags": []}, "Supervisely"),
        ("a.json", [{"data_row": {}}], "Labelbox"),
        ("a.json", {"item": {}, "annotations": []}, "Darwin"),
        ("a.json", [{"image": "a", "annotator": 1, "annotation_id": 2}], "JSON-MIN"),
        ("a.xml", "<annotation><object/></annotation>", "Pascal VOC"),
        ("a.xml", "<annotations><track/></annotations>", "CVAT for images 1.1"),
        ("a.txt", "0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.2 0.2\n", "YOLO"),
    ],
)
def test_what_is_not_read_is_named(name, content, tool, tmp_path):
    text = content if isinstance(content, str) else json.dumps(content)
    with pytest.raises(ImageError, match=tool) as refused:
        read_annotations(written(tmp_path, name, text))
    if tool != "CVAT for images 1.1":
        assert isinstance(refused.value, UnsupportedImageError)


@pytest.mark.parametrize("content", ["{}", "[]", '{"a": 1}', '"text"', "3"])
def test_other_json_is_none_of_annotations(content, tmp_path):
    assert read_annotations(written(tmp_path, "a.json", content)) is None
