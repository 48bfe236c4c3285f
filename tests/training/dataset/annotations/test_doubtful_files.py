"""Files that can be taken in two ways: as they are meant, or refused or told, never silently."""

import json
import zipfile

import numpy as np
import pytest
import tifffile
from roifile import ROI_TYPE, ImagejRoi

from seg.errors import DatasetError, ImageError
from seg.images import Image
from tests.datasets import write_png
from tests.training.dataset.annotations import files
from tests.training.dataset.annotations.files import BOX, HEIGHT, HOLE, OUTER, WIDTH, cell, nucleus
from tests.training.dataset.annotations.test_odd_files import (
    IMAGE,
    PERCENT,
    coco,
    flat,
    label_studio,
    painted,
)
from training.dataset import inspect, load_dataset, look_into
from training.dataset.annotations.coco import read_coco
from training.dataset.annotations.formats import read_annotations
from training.dataset.annotations.geojson import read_geojson
from training.dataset.annotations.imagej import read_imagej
from training.dataset.annotations.label_studio import read_label_studio
from training.dataset.annotations.slicer import read_slicer

NAMES = ("a", "b", "c")


def images(folder, names=NAMES):
    for index, name in enumerate(names):
        noise = np.random.default_rng(index).integers(0, 255, (HEIGHT, WIDTH))
        write_png(folder / f"{name}.png", noise)
    return folder


def problems(findings):
    return " ".join(finding.problem for finding in findings)


@pytest.mark.parametrize(
    "segmentation",
    [
        pytest.param(flat(BOX), id="numbers alone"),
        pytest.param(BOX, id="pairs alone"),
        pytest.param(
            [{"size": [HEIGHT, WIDTH], "counts": [18 * HEIGHT + 4, *([5, HEIGHT - 5] * 8)[:-1],
                                                  11 + 3 * HEIGHT + HEIGHT]}],
            id="run lengths in a list",
        ),
    ],
)  # fmt: skip
def test_one_outline_need_not_be_in_a_list_of_its_own(segmentation):
    raw = coco(flat(BOX))
    raw["annotations"][0]["segmentation"] = segmentation
    np.testing.assert_array_equal(painted(read_coco(raw)), nucleus())


def test_an_outline_that_would_be_a_hole_is_filled_as_coco_has_it_and_told():
    raw = coco(flat(OUTER))
    raw["annotations"][0]["segmentation"].append(flat(HOLE))
    found = read_coco(raw)
    np.testing.assert_array_equal(painted(found), cell(hole=False))
    assert +found.left_out == {"outlines within another of their object": 1}


def test_two_entries_of_one_image_are_refused():
    image = coco()["images"][0]
    with pytest.raises(ImageError, match=r"several images .* a\.png"):
        read_coco(coco(images=[image, image | {"id": 1}]))
    tasks = label_studio({"type": "polygonlabels", "value": {}})
    tasks[0]["annotations"][0]["result"] = []
    with pytest.raises(ImageError, match=r"several tasks .* a\.png"):
        read_label_studio(2 * tasks)


def test_an_image_that_cvat_lists_twice_is_refused(tmp_path):
    (tmp_path / "x.xml").write_text(files.cvat(["a.png", "a.png"]))
    with pytest.raises(ImageError, match=r"several images .* a\.png"):
        read_annotations(tmp_path / "x.xml")


def test_panoptic_annotations_are_named(tmp_path):
    raw = coco(annotations=[{"image_id": 0, "file_name": "a.png", "segments_info": []}])
    (tmp_path / "panoptic.json").write_text(json.dumps(raw))
    with pytest.raises(ImageError, match="panoptic task"):
        read_annotations(tmp_path / "panoptic.json")


def test_subsets_of_cvat_are_held_out(tmp_path):
    images(tmp_path, ("a", "b", "c"))
    content = files.cvat([f"{name}.png" for name in NAMES])
    (tmp_path / "x.xml").write_text(content.replace('id="1"', 'id="1" subset="Test"'))
    assert [case.name for case in load_dataset(tmp_path).test] == ["b"]


def polygon(label="nucleus", points=PERCENT, **more):
    value = {"points": points, "polygonlabels": [label]}
    return {"id": label, "type": "polygonlabels", "value": value, **more}


def test_of_several_annotations_the_ground_truth_is_taken():
    raw = label_studio(polygon())
    other = {"result": [], "updated_at": "2027-01-01"}
    raw[0]["annotations"] = [raw[0]["annotations"][0] | {"ground_truth": True}, other]
    found = read_label_studio(raw)
    np.testing.assert_array_equal(painted(found), nucleus())
    assert sum(found.left_out.values()) == 1


@pytest.mark.parametrize(
    ("results", "data"),
    [
        ([polygon(to_name="one"), polygon("cell", to_name="two")], {"image": "a.png"}),
        ([polygon(item_index=1)], {"image": "a.png"}),
        ([polygon(to_name="two")], {"before": "a.png", "after": "b.png"}),
    ],
)
def test_a_task_of_several_images_is_refused(results, data):
    raw = label_studio(*results)
    raw[0]["data"] = data
    with pytest.raises(ImageError, match="several images"):
        read_label_studio(raw)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/local-files/?d=set/my%20a.png", "set/my a.png"),
        ("https://x.s3.amazonaws.com/set/a.png?X-Amz-Signature=b.c&d=", "set/a.png"),
        ("s3://bucket/set/a.png", "set/a.png"),
        ("set/100%25.png", "set/100%25.png"),
    ],
)
def test_addresses_of_images_lead_to_their_files(address, name):
    raw = label_studio(polygon())
    raw[0]["data"]["image"] = address
    assert list(read_label_studio(raw).drawings) == [name]


def feature(properties=None, **geometry):
    ring = [*BOX, BOX[0]]
    geometry = {"type": "Polygon", "coordinates": [ring], **geometry}
    return {"type": "Feature", "geometry": geometry, "properties": properties or {}}


def test_geojson_of_another_moment_or_of_the_earth_is_refused():
    with pytest.raises(ImageError, match="moment 2"):
        read_geojson([feature(plane={"c": -1, "z": 0, "t": 2})])
    with pytest.raises(ImageError, match="not pixels"):
        read_geojson({"type": "FeatureCollection", "crs": {}, "features": [feature()]})


def test_classes_of_other_programs_are_not_merged():
    found = read_geojson([feature({"class": "water"}), feature({"label": "forest"})])
    assert found.classes() == ("forest", "water")
    assert read_geojson(feature()["geometry"]).classes() == ("object",)


def test_shapes_without_a_class_among_others_are_told(tmp_path):
    images(tmp_path)
    both = [feature({"classification": {"name": "tumour"}}), feature()]
    for name in NAMES:
        (tmp_path / f"{name}.png.geojson").write_text(json.dumps(both))
    _, findings = look_into(tmp_path)
    assert "others none" in problems(findings)


def region(**fields):
    found = ImagejRoi.frompoints(BOX, name="nucleus")
    for key, value in fields.items():
        setattr(found, key, value)
    return found


@pytest.mark.parametrize(
    ("image", "place", "plane"),
    [
        pytest.param(IMAGE, {}, None, id="nowhere"),
        pytest.param(Image(np.zeros((3, HEIGHT, WIDTH))), {"position": 2}, None, id="a channel"),
        pytest.param(Image(np.zeros((1, 4, HEIGHT, WIDTH))), {"position": 3}, 2, id="a page"),
        pytest.param(
            Image(np.zeros((2, 4, HEIGHT, WIDTH))), {"position": 5, "z_position": 3}, 2, id="z"
        ),
    ],
)
def test_a_region_lies_on_its_slice_whatever_the_channels(image, place, plane, tmp_path):
    (tmp_path / "a.roi").write_bytes(region(**place).tobytes())
    labels = read_imagej(tmp_path / "a.roi").drawings[""].painted(image, {"nucleus": 1})
    wanted = np.zeros(image.spatial_shape, bool)
    wanted[... if plane is None else plane] = nucleus()
    np.testing.assert_array_equal(labels, wanted)


def test_a_region_that_lies_at_no_known_slice_or_moment_is_refused(tmp_path):
    (tmp_path / "a.roi").write_bytes(region(position=5).tobytes())
    image = Image(np.zeros((2, 4, HEIGHT, WIDTH)))
    with pytest.raises(ImageError, match="does not say in which slice"):
        read_imagej(tmp_path / "a.roi").drawings[""].painted(image, {"nucleus": 1})
    (tmp_path / "b.roi").write_bytes(region(t_position=2).tobytes())
    with pytest.raises(ImageError, match="moment 2"):
        read_imagej(tmp_path / "b.roi")


def test_zips_of_regions_beside_their_images_are_no_masks(tmp_path):
    images(tmp_path)
    for name in NAMES:
        with zipfile.ZipFile(tmp_path / f"RoiSet_{name}.zip", "w") as archive:
            archive.writestr("1.roi", region().tobytes())
    _, mask = (dataset := load_dataset(tmp_path)).read(dataset.cases[0])
    np.testing.assert_array_equal(mask.array, nucleus())


def test_regions_in_the_overlay_of_an_image_are_told_with_the_way_out(tmp_path):
    overlay = region(roitype=ROI_TYPE.POLYGON).tobytes()
    for name in NAMES:
        image = np.zeros((HEIGHT, WIDTH), np.uint8)
        file = tmp_path / f"{name}.tif"
        tifffile.imwrite(file, image, imagej=True, metadata={"Overlays": [overlay]})
    with pytest.raises(DatasetError, match="overlay are not read; in ImageJ choose"):
        load_dataset(tmp_path)


def segments(tmp_path, layers, rows):
    files.seg_nrrd(tmp_path / "a.seg.nrrd", layers, rows)
    image = Image(np.zeros((1, 2, 3, 4)), affine=np.diag([-1.0, -1.0, 2.0, 1.0]))
    return read_slicer(tmp_path / "a.seg.nrrd").drawings[""].painted(image, {"a": 1, "b": 2})


@pytest.mark.parametrize("value", [None, 1])
def test_segments_of_old_slicers_lie_in_a_layer_each(value, tmp_path):
    first, second = np.zeros((2, 2, 3, 4), np.uint8)
    first[0], second[1] = 1, 1
    labels = segments(tmp_path, [first, second], [("a", value, None), ("b", value, None)])
    np.testing.assert_array_equal(labels, first + 2 * second)


def test_segments_that_the_header_does_not_tell_apart_are_refused(tmp_path):
    layer = np.ones((2, 3, 4), np.uint8)
    with pytest.raises(ImageError, match="2 segments lie in 1 layers"):
        segments(tmp_path, [layer], [("a", None, None), ("b", None, None)])
    layer[0, 0, 0] = 7
    with pytest.raises(ImageError, match="the value 7, which no segment"):
        segments(tmp_path, [layer], [("a", 1, 0)])


def test_an_image_of_one_name_in_two_folders_is_that_beside_the_file_or_asked_for(tmp_path):
    for place in ("train", "valid"):
        images(tmp_path / place, [f"{place}_{n}" for n in "xy"])
        index = len(place)  # of the noise, so that no two images are the same
        write_png(tmp_path / place / "a.png", np.full((HEIGHT, WIDTH), index))
        (tmp_path / place / "annotations.json").write_text(files.coco(["a.png"]))
    dataset = load_dataset(tmp_path)
    assert [case.images[0].parent.name for case in dataset.cases] == ["train", "valid"]
    (tmp_path / "all.json").write_text((tmp_path / "train" / "annotations.json").read_text())
    for place in ("train", "valid"):
        (tmp_path / place / "annotations.json").unlink()
    with pytest.raises(DatasetError, match=r"a\.png lies in .* names neither"):
        load_dataset(tmp_path)


def test_a_file_that_names_another_image_than_it_is_called_after_is_told(tmp_path):
    images(tmp_path)
    for name, named in zip(NAMES, "bca", strict=True):
        (tmp_path / f"{name}.json").write_text(files.labelme(f"{named}.png"))
    dataset, findings = look_into(tmp_path)
    assert problems(findings + inspect(dataset)).count("called after another image") == 3


@pytest.mark.parametrize(
    ("head", "tool"),
    [
        ("index,shape-type,vertex-index,axis-0,axis-1", "napari"),
        ("ImageId,EncodedPixels", "Kaggle"),
        ("filename,file_size,region_count,region_shape_attributes", "VGG"),
    ],
)
def test_tables_of_annotations_are_named(head, tool, tmp_path):
    images(tmp_path)
    (tmp_path / "x.csv").write_text(f"{head}\n1,2\n")
    with pytest.raises(DatasetError, match=tool):
        load_dataset(tmp_path)
