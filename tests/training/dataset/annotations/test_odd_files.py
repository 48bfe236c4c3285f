"""Files of annotations as people have them: read as they are meant, or refused in one sentence."""

import json

import numpy as np
import pytest

from seg.errors import DatasetError, ImageError
from seg.images import Image
from tests.datasets import write_png
from tests.training.dataset.annotations import files
from tests.training.dataset.annotations.files import BOX, HEIGHT, WIDTH, flat, nucleus
from training.dataset import inspect, load_dataset, look_into
from training.dataset.annotations.coco import read_coco
from training.dataset.annotations.geojson import read_geojson
from training.dataset.annotations.label_studio import read_label_studio
from training.dataset.annotations.labelme import read_labelme

IMAGE = Image(np.zeros((1, HEIGHT, WIDTH), np.uint8))
NAMES = ("a", "b", "c")


def coco(*outlines, **changed):
    annotations = [
        {"id": i, "image_id": 0, "category_id": 1, "segmentation": [outline]}
        for i, outline in enumerate(outlines)
    ]
    return {
        "images": [{"id": 0, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 1, "name": "nucleus"}],
        "annotations": annotations,
    } | changed


def labelme(*shapes):
    entries = [{"shape_type": kind, "points": at, "label": name} for kind, at, name in shapes]
    return {"shapes": entries, "imagePath": "a.png", "imageHeight": HEIGHT, "imageWidth": WIDTH}


def label_studio(*results):
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    result = [{**size, **each} for each in results]
    return [{"id": 1, "data": {"image": "a.png"}, "annotations": [{"result": result}]}]


def painted(annotated):
    (drawing,) = annotated.drawings.values()
    return drawing.painted(IMAGE, dict.fromkeys(annotated.classes(), 1))


PERCENT = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in BOX]


@pytest.mark.parametrize(
    "annotated",
    [
        pytest.param(
            lambda: read_coco(coco(flat(BOX)) | {"images": [
                {"id": "0", "file_name": "a.png", "height": HEIGHT, "width": WIDTH}]}),
            id="COCO whose ids are text here and numbers there",
        ),
        pytest.param(lambda: read_coco(coco(BOX)), id="COCO with pairs of numbers"),
        pytest.param(
            lambda: read_labelme(labelme(("rectangle", BOX, "nucleus"))),
            id="LabelMe's rectangle of four corners",
        ),
        pytest.param(
            lambda: read_label_studio(label_studio(
                {"id": "r", "type": "polygon", "value": {"points": PERCENT}},
                {"id": "r", "type": "labels", "value": {"points": PERCENT, "labels": ["nucleus"]}},
            )),
            id="Label Studio's region and label apart",
        ),
    ],
)  # fmt: skip
def test_other_ways_of_writing_the_same_are_read(annotated):
    found = annotated()
    np.testing.assert_array_equal(painted(found), nucleus())
    assert found.classes() == ("nucleus",)
    assert not +found.left_out


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        pytest.param(coco([1, 2, float("nan"), 4, 5, 6]), "in pixels", id="no number"),
        pytest.param(coco([1, 2, 1e12, 4, 5, 6]), "in pixels", id="far away"),
        pytest.param(coco([1, 2, 3, 4, 5, 6, 7]), "in pixels", id="half a point"),
        pytest.param(coco([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), "between 0 and 1", id="shares"),
        pytest.param(
            coco(images=2 * coco()["images"]), "several images .* id 0", id="two images of one id"
        ),
        pytest.param(
            coco(categories=2 * coco()["categories"]), "several categories .* id 1", id="categories"
        ),
    ],
)
def test_coco_that_cannot_be_meant_is_refused(raw, words):
    with pytest.raises(ImageError, match=words):
        read_coco(raw)


def test_what_has_no_geometry_or_no_label_is_counted_and_the_rest_is_read():
    feature = {"type": "Feature", "geometry": None, "properties": {}}
    drawn = json.loads(files.qupath())
    found = read_geojson(drawn | {"features": [feature, *drawn["features"]]})
    assert found.left_out == {"features without a geometry": 1}
    assert len(found.drawings[""].shapes) == 2
    region = {"id": "r", "type": "polygonlabels", "value": {"points": PERCENT}}
    region["value"]["polygonlabels"] = ["nucleus", "large"]
    alone = {"id": "s", "type": "polygon", "value": {"points": PERCENT}}
    found = read_label_studio(label_studio(region, alone))
    assert found.left_out == {"polygon without a label": 1, "second labels of a region": 1}


def test_a_shape_without_a_name_is_an_object():
    found = read_labelme(labelme(("polygon", BOX, None), ("circle", [[3, 3]], "nucleus")))
    assert found.classes() == ("object",)
    assert found.left_out == {"circle": 1}


def drawn(folder, labels=("cell", "cell", "cell"), points=BOX, image_of=lambda name: name):
    for index, (name, label) in enumerate(zip(NAMES, labels, strict=True)):
        noise = np.random.default_rng(index).integers(0, 255, (HEIGHT, WIDTH))
        write_png(folder / f"{name}.png", noise)
        kinds = label if isinstance(label, tuple) else (label,)
        raw = labelme(*(("polygon", points, kind) for kind in kinds))
        text = json.dumps(raw | {"imagePath": f"{image_of(name)}.png"})
        (folder / f"{name}.json").write_text(text)
    return folder


def test_names_that_differ_in_capitals_or_spaces_are_one_class_and_told(tmp_path):
    dataset, findings = look_into(drawn(tmp_path, ("cell", "Cell ", "cell")))
    assert [info.name for info in dataset.classes] == ["background", "cell"]
    assert ["differ in capitals alone" in each.problem for each in findings] == [True]
    (tmp_path / "dataset.yaml").write_text("classes: [background, cell, Cell]")
    dataset, findings = look_into(tmp_path)
    assert [info.name for info in dataset.classes] == ["background", "cell", "Cell"]
    assert findings == []


def test_the_tools_own_names_of_background_and_of_what_to_ignore_are_no_classes(tmp_path):
    labels = (("cell", "_background_"), ("cell", "Background"), ("cell", "__ignore__"))
    dataset = load_dataset(drawn(tmp_path, labels))
    assert [info.name for info in dataset.classes] == ["background", "cell"]
    values = [np.unique(dataset.read(case)[1].array).tolist() for case in dataset.cases]
    assert values == [[0], [0], [0, 255]]


def test_shapes_that_lie_beside_their_image_are_told(tmp_path):
    dataset, findings = look_into(drawn(tmp_path, points=[[99, 2], [120, 2], [120, 30]]))
    problems = [each.problem for each in findings + inspect(dataset)]
    assert sum("1 of 1 shapes hold no pixel of the image" in each for each in problems) == 3


def test_shapes_that_lie_under_later_ones_are_told(tmp_path):
    dataset = load_dataset(drawn(tmp_path, (("cell", "cell"), ("cell", "nucleus"), "cell")))
    problems = [each.problem for each in inspect(dataset)]
    hidden = "1 of 2 shapes lie under later ones, and no pixel of them is left"
    assert problems.count(hidden) == 2


def test_why_no_image_is_left_is_said_beside_that_none_is(tmp_path):
    with pytest.raises(DatasetError) as error:
        look_into(drawn(tmp_path, image_of=lambda _: "a"))
    assert "b.json: a.png is annotated in a.json too" in str(error.value)
    assert "at least 2 cases" in str(error.value)


def test_annotations_that_draw_nothing_say_what_they_hold(tmp_path):
    drawn(tmp_path, points=[[1, 1], [2, 2]])
    with pytest.raises(DatasetError, match="no shape with an area in them: 3 polygon"):
        look_into(tmp_path)
    (tmp_path / "tasks.json").write_text(
        json.dumps([{"id": 1, "data": {"image": "a.png"}, "annotations": [], "predictions": []}])
    )
    for name in NAMES:
        (tmp_path / f"{name}.json").unlink()
    with pytest.raises(DatasetError, match="1 tasks that nobody has annotated"):
        look_into(tmp_path)


def test_a_file_that_is_no_text_is_refused_with_the_way_out(tmp_path):
    drawn(tmp_path)
    (tmp_path / "a.json").write_bytes('{"shapes": "Gefäß"}'.encode("latin-1"))
    _, findings = look_into(tmp_path)
    assert [each.problem for each in findings if each.severity == "error"] == [
        "it is no text in UTF-8; save it as UTF-8"
    ]
