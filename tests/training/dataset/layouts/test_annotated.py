"""Folders as they come out of tools of annotation."""

import json

import numpy as np
import pytest

from seg.errors import DatasetError
from tests.datasets import write_png
from tests.training.dataset.annotations import files
from tests.training.dataset.annotations.files import HEIGHT, WIDTH, expected
from training.dataset import IGNORE, check_dataset, load_dataset, look_into

NAMES = ("a.png", "b.png", "c.png")


def images(folder, names=NAMES):
    for index, name in enumerate(names):
        noise = np.random.default_rng(index).integers(0, 255, (HEIGHT, WIDTH))
        write_png(folder / name, noise)
    return folder


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def beside(folder, ending, write):
    for name in NAMES:
        target = folder / name.replace(".png", ending)
        target.parent.mkdir(parents=True, exist_ok=True)
        write(target, name)


FOLDERS = {
    "COCO at the top": lambda f: (
        images(f / "images"),
        text(f / "instances_default.json", files.coco(NAMES)),
    ),
    "COCO in annotations": lambda f: (
        images(f / "images"),
        text(f / "annotations" / "instances.json", files.coco(NAMES)),
    ),
    "CVAT": lambda f: (
        images(f / "images" / "default"),
        text(f / "annotations.xml", files.cvat([f"default/{name}" for name in NAMES])),
    ),
    "Label Studio": lambda f: (
        images(f / "images"),
        text(f / "project-1-at-2026.json", files.label_studio(NAMES)),
    ),
    "LabelMe beside its images": lambda f: (
        images(f),
        beside(f, ".json", lambda path, name: text(path, files.labelme(f"..\\x\\{name}"))),
    ),
    "LabelMe in labels": lambda f: (
        images(f / "images"),
        beside(f / "labels", ".json", lambda path, name: text(path, files.labelme(name))),
    ),
    "QuPath": lambda f: (
        images(f / "images"),
        beside(f / "annotations", ".geojson", lambda path, _: text(path, files.qupath())),
    ),
}


@pytest.mark.parametrize("layout", FOLDERS)
def test_a_folder_of_annotations_is_a_dataset(layout, tmp_path):
    FOLDERS[layout](tmp_path)
    dataset = load_dataset(tmp_path)
    assert [info.name for info in dataset.classes] in (
        ["background", "cell", "nucleus"],
        ["background", "nucleus", "cell"],
    )
    check_dataset(dataset)
    assert [case.name for case in dataset.cases] == ["a", "b", "c"]
    _, mask = dataset.read(dataset.cases[0])
    names = np.array([info.name for info in dataset.classes])[mask.array]
    np.testing.assert_array_equal(names, np.array(["background", "cell", "nucleus"])[expected()])


def test_the_zip_of_imagej_s_manager_is_called_after_its_image(tmp_path):
    images(tmp_path / "images")
    (tmp_path / "rois").mkdir()
    for name in NAMES:
        files.roi_zip(tmp_path / "images" / f"{name[0]}_RoiSet.zip")
    dataset = load_dataset(tmp_path)
    assert [info.name for info in dataset.classes] == ["background", "cell", "nucleus"]
    assert len(dataset.cases) == 3
    _, mask = dataset.read(dataset.cases[0])
    np.testing.assert_array_equal(mask.array, expected(hole=False))


def test_cellpose_s_files_lie_beside_their_images(tmp_path):
    images(tmp_path)
    beside(tmp_path, "_seg.npy", lambda path, _: files.cellpose(path))
    dataset = load_dataset(tmp_path)
    assert [info.name for info in dataset.classes] == ["background", "object"]
    _, mask = dataset.read(dataset.cases[0])
    np.testing.assert_array_equal(mask.array, expected() > 0)


def test_the_file_itself_can_be_named(tmp_path):
    FOLDERS["COCO in annotations"](tmp_path)
    text(tmp_path / "instances.json", (tmp_path / "annotations" / "instances.json").read_text())
    assert len(load_dataset(tmp_path / "instances.json").cases) == 3


def test_images_that_nobody_annotated_are_left_out_and_told(tmp_path):
    images(tmp_path / "images", (*NAMES, "d.png"))
    text(tmp_path / "instances.json", files.coco(NAMES))
    dataset, findings = look_into(tmp_path)
    assert [case.name for case in dataset.cases] == ["a", "b", "c"]
    assert [(f.severity, f.where[-5:], f.problem) for f in findings] == [
        ("warning", "d.png", "nobody annotated it, so it is left out")
    ]


def test_an_image_that_is_annotated_and_not_there_is_told(tmp_path):
    images(tmp_path / "images", NAMES[:2])
    text(tmp_path / "instances.json", files.coco(NAMES))
    with pytest.raises(DatasetError, match=r"the image c\.png, which it was drawn on, is not ther"):
        load_dataset(tmp_path)


def test_files_of_validation_and_tests_are_held_out(tmp_path):
    images(tmp_path / "images")
    text(tmp_path / "annotations" / "instances_train.json", files.coco(NAMES[:2]))
    text(tmp_path / "annotations" / "instances_val.json", files.coco(NAMES[2:]))
    dataset = load_dataset(tmp_path)
    assert [case.name for case in dataset.test] == ["c"]


def test_files_of_validation_beside_those_of_tests_are_told_to_be_trained_on(tmp_path):
    images(tmp_path / "images")
    for name, image in zip(("train", "val", "test"), NAMES, strict=True):
        text(tmp_path / "annotations" / f"instances_{name}.json", files.coco([image]))
    dataset, findings = look_into(tmp_path)
    assert [case.name for case in dataset.test] == ["c"]
    (told,) = [each.where for each in findings if "trained on like the rest" in each.problem]
    assert told.endswith("instances_val.json")


def test_images_of_one_name_are_those_of_the_folder_that_the_file_is_of(tmp_path):
    for part in ("train", "val"):
        images(tmp_path / "a" / "images" / part)
        text(tmp_path / "a" / f"annotations/instances_{part}.json", files.coco(NAMES))
        images(tmp_path / "b" / "images" / part)
        for name in NAMES:
            target = tmp_path / "b" / "labels" / part / name.replace(".png", ".json")
            text(target, files.labelme(f"../../images/{part}/{name}"))
    for dataset in (load_dataset(tmp_path / "a"), load_dataset(tmp_path / "b")):
        assert {case.images[0].parent.name for case in dataset.train} == {"train"}
        assert {case.images[0].parent.name for case in dataset.test} == {"val"}
        assert all(case.images[0].parent.name in str(case.mask) for case in dataset.cases)


def test_what_is_drawn_beside_masks_in_folders_of_subjects_is_not_read(tmp_path):
    for part in ("p1", "p2"):
        images(tmp_path / "images" / part)
        images(tmp_path / "masks" / part)
        files.cellpose(tmp_path / "images" / part / "a_seg.npy")
    (tmp_path / "dataset.yaml").write_text("masks: instances\n")
    dataset, _ = look_into(tmp_path)
    assert {case.subject for case in dataset.cases} == {"p1", "p2"}


def test_what_is_labelled_ignore_is_no_class(tmp_path):
    FOLDERS["QuPath"](tmp_path)
    for path in (tmp_path / "annotations").iterdir():
        path.write_text(path.read_text().replace('"nucleus"', '"Ignore*"'))
    dataset = load_dataset(tmp_path)
    assert [info.name for info in dataset.classes] == ["background", "cell"]
    _, mask = dataset.read(dataset.cases[0])
    assert mask.array[5, 20] == IGNORE


def test_dataset_yaml_gives_the_order_of_the_classes(tmp_path):
    FOLDERS["COCO at the top"](tmp_path)
    text(tmp_path / "dataset.yaml", "classes: [background, nucleus, cell]\n")
    assert [c.name for c in load_dataset(tmp_path).classes] == ["background", "nucleus", "cell"]
    text(tmp_path / "dataset.yaml", "classes: [background, nucleus]\n")
    with pytest.raises(DatasetError, match="annotations are of cell too"):
        load_dataset(tmp_path)


def test_a_format_that_is_not_read_is_named(tmp_path):
    images(tmp_path / "images")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.1 0.1 0.2 0.2\n0 0.1 0.1 0.2 0.2\n")
    with pytest.raises(DatasetError, match="YOLO's text files are not read"):
        load_dataset(tmp_path)


def test_what_is_drawn_in_a_slicer_file_is_read_in_three_dimensions(tmp_path):
    import nibabel

    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for index, name in enumerate("ab"):
        voxels = np.random.default_rng(index).normal(size=(8, 7, 6)).astype(np.float32)
        image = nibabel.Nifti1Image(voxels, np.diag([-1.0, -1.0, 2.0, 1.0]))
        nibabel.save(image, tmp_path / "images" / f"{name}.nii.gz")
        layer = np.zeros((6, 7, 8), np.uint8)
        layer[1:3, 2:4, 3:5] = 1
        files.seg_nrrd(tmp_path / "masks" / f"{name}.seg.nrrd", [layer], [("liver", 1, 0)])
    dataset = load_dataset(tmp_path)
    assert (dataset.dims, [c.name for c in dataset.classes]) == (3, ["background", "liver"])
    check_dataset(dataset)
    _, mask = dataset.read(dataset.cases[0])
    np.testing.assert_array_equal(mask.array, layer)


def test_json_that_is_no_annotation_is_told_what_would_be(tmp_path):
    images(tmp_path / "images")
    text(tmp_path / "things.json", json.dumps({"a": 1}))
    with pytest.raises(DatasetError, match="it has no masks"):
        load_dataset(tmp_path)


def touching(names=NAMES):
    """Two cells that share a side, of every image."""
    images = [
        {"id": i, "file_name": name, "height": HEIGHT, "width": WIDTH}
        for i, name in enumerate(names)
    ]
    annotations = [
        {
            "id": 2 * i + k,
            "image_id": i,
            "category_id": 1,
            "segmentation": [[x, 2, x + 6, 2, x + 6, 12, x, 12]],
        }
        for i in range(len(names))
        for k, x in enumerate((3, 9))
    ]
    categories = [{"id": 1, "name": "cell"}]
    return json.dumps({"images": images, "categories": categories, "annotations": annotations})


def test_shapes_are_objects_where_the_card_says_so(tmp_path):
    images(tmp_path / "images")
    text(tmp_path / "instances.json", touching())
    text(tmp_path / "dataset.yaml", "masks: instances\n")
    dataset = load_dataset(tmp_path)
    assert dataset.has_objects
    image, mask = dataset.read(dataset.cases[0])
    numbers = dataset.read_objects(dataset.cases[0], image, mask)
    assert [int((numbers == number).sum()) for number in (1, 2)] == [60, 60]
    assert not [each for each in check_dataset(dataset) if "touch another" in each.problem]


def test_shapes_that_touch_and_become_one_are_told(tmp_path):
    images(tmp_path / "images")
    text(tmp_path / "instances.json", touching())
    dataset = load_dataset(tmp_path)
    assert not dataset.has_objects
    (told,) = [each for each in check_dataset(dataset) if "touch another" in each.problem]
    assert told.problem.startswith("6 of 6 shapes")
    assert "masks: instances" in told.advice


def test_what_cellpose_has_numbered_are_objects(tmp_path):
    images(tmp_path)
    beside(tmp_path, "_seg.npy", lambda path, _: files.cellpose(path))
    dataset = load_dataset(tmp_path)
    assert dataset.has_objects
    image, mask = dataset.read(dataset.cases[0])
    assert dataset.read_objects(dataset.cases[0], image, mask).max() == 2


def test_annotations_beside_masks_are_passed_over_and_told(tmp_path):
    FOLDERS["COCO at the top"](tmp_path)
    for name in NAMES:
        write_png(tmp_path / "masks" / name, expected())
    dataset, findings = look_into(tmp_path)
    assert all(case.drawing is None for case in dataset.cases)
    assert [each.problem for each in findings] == [
        "it holds annotations of COCO, and the masks beside it are read"
    ]
