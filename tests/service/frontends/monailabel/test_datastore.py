"""Annotating by MONAI Label's contract: the folder is a dataset of ours all the while."""

import json
import shutil

import numpy as np
import pytest
import yaml

from seg.images import Image, Mask, read_image, read_mask, write_image
from seg.inference import Quality, Segmentation
from service.answers.quality_header import with_quality
from service.frontends.monailabel.results import mean_dice
from service.frontends.monailabel.studies import Studies
from training.dataset import load_dataset

MODEL = "nearest-level"


@pytest.fixture
def monai_store(monai, studies):
    """The client, of a folder of studies in which is nothing."""
    shutil.rmtree(studies, ignore_errors=True)
    return monai


def drawn(scan, tmp_path, numbers, *, affine=None):
    """A mask as Slicer exports one: these numbers, slab by slab along z."""
    image = read_image(scan)
    labels = np.zeros((1, *image.spatial_shape), np.uint8)
    for z, number in enumerate(numbers):
        labels[:, z] = number
    path = tmp_path / "MUELLER_label.nrrd"
    affine = image.affine if affine is None else affine
    write_image(path, Image(labels, spacing=image.spacing, affine=affine))
    return str(path)


def test_what_people_draw_is_a_dataset_that_training_reads(monai_store, scan, tmp_path, studies):
    for name in ("a", "b"):
        assert monai_store.upload_image(str(scan), name) == {"image": name}
    info = [{"name": "nucleus", "idx": 1}, {"name": "cytoplasm", "idx": 2}]
    label = drawn(scan, tmp_path, [0, 1, 2])
    for name in ("a", "b"):
        monai_store.save_label(name, label, tag="final", params={"label_info": info})
    monai_store.save_label(
        "a", drawn(scan, tmp_path, [1]), tag="original", params={"label_info": info}
    )
    dataset = load_dataset(studies)
    assert [entry.name for entry in dataset.classes] == ["background", "cytoplasm", "nucleus"]
    assert sorted(case.name for case in dataset.cases) == ["a", "b"]
    kept = read_mask(studies / "masks" / "a.nii.gz")
    assert [int(kept.array[z, 0, 0]) for z in range(3)] == [0, 2, 1], "by name, not by number"
    np.testing.assert_allclose(kept.affine, read_image(scan).affine, atol=1e-4)
    everything = monai_store.datastore()["objects"]
    assert set(everything["a"]["labels"]) == {"final", "original"}
    assert monai_store.info()["datastore"] == {
        "total": 2,
        "completed": 2,
        "label_tags": {"final": 2, "original": 1},
    }
    back = monai_store.download_label("a", "final")
    np.testing.assert_array_equal(read_mask(tmp_path / back).array, kept.array)


def test_ohifs_raw_label_lies_on_the_grid_of_its_image(monai_store, front, scan, studies):
    monai_store.upload_image(str(scan), "a")
    image = read_image(scan)
    numbers = np.random.default_rng(0).integers(0, 3, image.spatial_shape).astype("<u2")
    told = {"label_info": [{"name": "cytoplasm", "idx": 1}, {"name": "nucleus", "idx": 2}]}
    put = {"url": "/datastore/label?image=a", "data": {"params": json.dumps(told)}}
    answer = front.put(**put, files={"label": ("label.bin", numbers.tobytes())})
    assert answer.status_code == 200, answer.text
    np.testing.assert_array_equal(read_mask(studies / "masks" / "a.nii.gz").array, numbers)
    cut = front.put(**put, files={"label": ("label.bin", numbers.tobytes()[:-2])})
    assert cut.status_code == 422


def test_a_mask_that_could_mean_something_else_is_refused_and_nothing_lost(
    monai_store, scan, tmp_path, studies
):
    monai_store.upload_image(str(scan), "a")
    info = [{"name": "nucleus", "idx": 1}]
    monai_store.save_label("a", drawn(scan, tmp_path, [1]), params={"label_info": info})
    before = (studies / "masks" / "a.nii.gz").read_bytes()
    liver = [{"name": "liver", "idx": 1}]
    for number, affine, told, said in (
        (2, None, info, "nothing says which class"),
        (1, None, liver, "is no class here"),
        (1, np.eye(4), info, "mm beside its image"),
    ):
        label = drawn(scan, tmp_path, [number], affine=affine)
        with pytest.raises(Exception, match=said):
            monai_store.save_label("a", label, params={"label_info": told})
    assert (studies / "masks" / "a.nii.gz").read_bytes() == before


def test_masks_that_nothing_explains_need_a_dataset_yaml_and_its_values_are_kept(
    monai_store, scan, tmp_path, studies
):
    monai_store.upload_image(str(scan), "a")
    (studies / "masks").mkdir()
    shutil.copy(drawn(scan, tmp_path, [7]), studies / "masks" / "b.nrrd")
    info = {"label_info": [{"name": "nucleus", "idx": 1}]}
    with pytest.raises(Exception, match=r"write a dataset\.yaml"):
        monai_store.save_label("a", drawn(scan, tmp_path, [1]), params=dict(info))
    classes = ["background", {"name": "nucleus", "value": 7}]
    (studies / "dataset.yaml").write_text(yaml.safe_dump({"classes": classes}))
    monai_store.save_label("a", drawn(scan, tmp_path, [1]), params=dict(info))
    assert set(np.unique(read_mask(studies / "masks" / "a.nii.gz").array)) == {0, 7}


def test_the_next_image_is_one_without_a_final_mask_until_none_is_left(
    monai_store, front, scan, tmp_path
):
    for name in ("a", "b"):
        monai_store.upload_image(str(scan), name)
    first = monai_store.next_sample("predicted_dice", {})
    assert first["id"] == "a"
    image = front.get("/datastore/image", params={"image": "a"})
    assert image.content == scan.read_bytes()
    assert front.head("/datastore/image?image=a&check_sum=" + first["checksum"]).status_code == 200
    assert front.head("/datastore/image?image=a&check_sum=SHA256:0").status_code == 404
    info = {"label_info": [{"name": "nucleus", "idx": 1}]}
    monai_store.save_label("a", drawn(scan, tmp_path, [1]), params=dict(info))
    assert monai_store.next_sample("first", {})["id"] == "b"
    monai_store.save_label("b", drawn(scan, tmp_path, [1]), params=dict(info))
    assert monai_store.next_sample("random", {}) == {}
    with pytest.raises(Exception, match="strategies are"):
        monai_store.next_sample("poem", {})


def test_the_image_of_which_least_is_expected_comes_first(monai_store, scan, studies):
    for name in ("a", "b", "c"):
        monai_store.upload_image(str(scan), name)
    for name, dice in (("a", 0.9), ("b", 0.4), ("c", 0.7)):
        Studies(studies).note_dice(name, f"{MODEL}:1", dice)
    found = monai_store.next_sample("predicted_dice", {})
    assert (found["id"], found["predicted_dice"], found["not_seen"]) == ("b", 0.4, 0)
    Studies(studies).note_dice("b", f"{MODEL}:0", 0.1)  # an older model's opinion counts no more
    assert monai_store.next_sample("predicted_dice", {})["id"] == "c"
    quality = Quality(predicted_dice={"x": 0.5, "y": 0.7}, expected_error={}, uncertainty=0.1)
    found = Segmentation(Mask(np.zeros((1, 1), np.uint8)), quality)
    assert mean_dice(with_quality(b"{}", found)) == pytest.approx(0.6)


def test_an_image_of_the_store_is_segmented_by_its_id(monai_store, front, scan, tmp_path):
    monai_store.upload_image(str(scan), "a")
    file, _ = monai_store.infer(MODEL, "a", {})
    plain = front.post("/segment?format=nifti", content=scan.read_bytes())
    (tmp_path / "plain.nii.gz").write_bytes(plain.content)
    wanted = read_mask(tmp_path / "plain.nii.gz")
    np.testing.assert_array_equal(read_mask(tmp_path / file).array, wanted.array)
    with pytest.raises(Exception, match="no such image"):
        monai_store.infer(MODEL, "../../a", {})


def test_an_image_takes_no_other_ones_place(monai_store, front, scan, tmp_path, studies):
    monai_store.upload_image(str(scan), "a")
    monai_store.upload_image(str(scan), "a")  # the same again is no other
    other = tmp_path / "x.nii.gz"
    write_image(other, Image(np.zeros((1, 4, 5, 6), np.uint8)))
    with pytest.raises(Exception, match="another image has this id"):
        monai_store.upload_image(str(other), "a")
    for wrong in ("../a", "a/b", ".a", "a_0001"):
        with pytest.raises(Exception, match="does not end in _0000"):
            monai_store.upload_image(str(scan), wrong)
    assert [path.name for path in (studies / "images").iterdir()] == ["a.nii.gz"]
    assert front.delete("/datastore/?id=a").json() == {}
    assert not list((studies / "images").iterdir())


def test_what_is_no_image_is_not_taken_in(monai_store, front):
    garbage = {"file": ("x.nii.gz", b"no image at all")}
    refused = front.put("/datastore/image?image=x", files=garbage)
    assert refused.status_code == 415, refused.text
    assert front.head("/datastore/image?image=x").status_code == 404


def test_a_file_is_sent_whole_whatever_parts_of_it_are_asked_for(monai_store, front, scan):
    """Thousands of ranges take work, and what is no range was refused in plain text."""
    monai_store.upload_image(str(scan), "a")
    for ranges in ("bytes=0-1", "lines=1-2", "bytes=" + "0-," * 2000, "bytes=--5"):
        answer = front.get("/datastore/image?image=a", headers={"Range": ranges})
        assert (answer.status_code, answer.content) == (200, scan.read_bytes())
        assert answer.headers["Accept-Ranges"] == "none"
