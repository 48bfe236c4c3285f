"""Decathlon folders and MONAI datalists."""

import json

import nibabel
import numpy as np
import pytest

from seg.errors import DatasetError
from tests.datasets import mask_values, plain_folder, write_png
from training.dataset import check_dataset, load_dataset, look_into


def write_nifti(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 3.0, 1.0])), path)


@pytest.fixture
def decathlon(tmp_path):
    """Six volumes of 2 channels in the last axis, classes as in the Decathlon's Task01."""
    rng = np.random.default_rng(0)
    for index in range(6):
        image = rng.integers(0, 99, (8, 7, 4, 2)).astype(np.int16)
        labels = rng.integers(0, 3, (8, 7, 4)).astype(np.uint8)
        write_nifti(tmp_path / "imagesTr" / f"BRATS_{index}.nii.gz", image)
        write_nifti(tmp_path / "labelsTr" / f"BRATS_{index}.nii.gz", labels)
    entries = [
        {"image": f"./imagesTr/BRATS_{i}.nii.gz", "label": f"./labelsTr/BRATS_{i}.nii.gz"}
        for i in range(6)
    ]
    card = {
        "name": "BRATS",
        "licence": "CC-BY-SA 4.0",
        "modality": {"0": "FLAIR", "1": "T1w"},
        "labels": {"0": "background", "1": "edema", "2": "tumour"},
        "numTraining": 6,
        "numTest": 1,
        "training": entries,
        "test": ["./imagesTs/BRATS_9.nii.gz"],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(card))
    return tmp_path


def write_list(folder, *, name="datalist.json", **lists):
    (folder / name).write_text(json.dumps(lists))
    return folder


def entry(index, **more):
    return {"image": f"images/a{index}.png", "label": f"masks/a{index}.png", **more}


@pytest.fixture
def files(tmp_path):
    """Images and masks a0 to a4 below a folder of another layout."""
    plain_folder(tmp_path / "files", values=(1,))
    for old, new in (("images", "pictures"), ("masks", "drawings")):
        (tmp_path / "files" / old).rename(tmp_path / "files" / new)
    return tmp_path / "files"


def listed(index, **more):
    return {"image": f"pictures/a{index}.png", "label": f"drawings/a{index}.png", **more}


def test_decathlon_volumes_have_their_channels_in_the_last_axis(decathlon):
    dataset = load_dataset(decathlon)
    assert (dataset.name, dataset.licence) == ("BRATS", "CC-BY-SA 4.0")
    assert [c.name for c in dataset.channels] == ["FLAIR", "T1w"]
    assert [c.name for c in dataset.classes] == ["background", "edema", "tumour"]
    assert (len(dataset.train), len(dataset.test)) == (5, 1)
    case = dataset.train[0]
    image, mask = dataset.read(case)
    stored = nibabel.load(case.images[0]).get_fdata()
    np.testing.assert_array_equal(image.array, stored.T)
    assert mask.spatial_shape == image.spatial_shape == (4, 7, 8)
    assert image.spacing == (3.0, 1.0, 1.0)
    check_dataset(dataset)


def test_a_listed_case_may_be_called_as_a_channel_is(decathlon):
    for part in ("imagesTr", "labelsTr"):
        (decathlon / part / "BRATS_0.nii.gz").rename(decathlon / part / "BRATS_0000.nii.gz")
    listing = decathlon / "dataset.json"
    listing.write_text(listing.read_text().replace("BRATS_0.nii.gz", "BRATS_0000.nii.gz"))
    assert {case.name for case in load_dataset(decathlon).cases} >= {"BRATS_0000", "BRATS_5"}


def test_test_images_without_masks_are_not_used(decathlon):
    assert "BRATS_9" not in {case.name for case in load_dataset(decathlon).cases}


def test_a_listed_file_that_is_not_there_is_named(decathlon):
    (decathlon / "labelsTr" / "BRATS_2.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"labelsTr/BRATS_2\.nii\.gz: it is listed and not ther"):
        load_dataset(decathlon)


def test_a_datalist_s_testing_cases_are_the_test_split(files):
    write_list(files, training=[listed(i) for i in range(3)], testing=[listed(3), listed(4)])
    dataset = load_dataset(files)
    assert [c.name for c in dataset.train] == ["a0", "a1", "a2"]
    assert [c.name for c in dataset.test] == ["a3", "a4"]
    assert [c.name for c in dataset.classes] == ["background", "class_1"]
    assert load_dataset(dataset.folder).cases == dataset.cases


def test_validation_cases_are_held_out_where_test_cases_have_no_masks(files):
    write_list(
        files,
        training=[listed(0), listed(1)],
        validation=[listed(2)],
        testing=[{"image": "pictures/a3.png"}],
    )
    dataset = load_dataset(files)
    assert [c.name for c in dataset.test] == ["a2"]
    assert len(dataset.cases) == 3


def test_fold_0_is_held_out(files):
    write_list(files, training=[listed(i, fold=i % 3) for i in range(5)])
    assert [c.name for c in load_dataset(files).test] == ["a0", "a3"]


def test_entries_without_a_fold_among_others_are_told(files):
    rows = [listed(0, fold=0), listed(1, fold=1), listed(2), listed(3), listed(4, fold=0)]
    write_list(files, training=rows)
    _, found = look_into(files)
    assert [each.where for each in found if "in every fold" in each.problem] == ["2 of 5 entries"]


def test_an_image_may_be_a_list_of_channels(files):
    image = ["pictures/a0.png", "pictures/a1.png"]
    write_list(
        files,
        training=[
            {"image": image, "label": "drawings/a0.png"},
            {"image": image[::-1], "label": "drawings/a1.png"},
        ],
    )
    dataset = load_dataset(files)
    assert len(dataset.channels) == 2
    read = {case.name: dataset.read(case)[0].array[:, 0, 0].tolist() for case in dataset.cases}
    assert read == {"a0": [0, 1], "a1": [1, 0]}


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    entries = []
    for patient in ("p1", "p2"):
        write_png(tmp_path / patient / "image.png", np.zeros((4, 6)))
        write_png(tmp_path / patient / "mask.png", mask_values(1))
        entries.append({"image": f"{patient}/image.png", "label": f"{patient}/mask.png"})
    write_list(tmp_path, training=entries)
    assert {c.name for c in load_dataset(tmp_path).cases} == {"p1_image", "p2_image"}


def test_several_datalists_have_to_be_told_apart(files):
    for name in ("one.json", "two.json"):
        write_list(files, name=name, training=[listed(0), listed(1)])
    with pytest.raises(DatasetError, match=r"several lists of cases; name one of one\.json, two"):
        load_dataset(files)
    assert len(load_dataset(files / "two.json").cases) == 2


def test_dataset_yaml_names_a_datalist_s_classes(files):
    write_list(files, training=[listed(0), listed(1)])
    (files / "dataset.yaml").write_text("classes: [background, vessel]")
    assert load_dataset(files).classes[1].name == "vessel"


def test_what_the_list_settles_dataset_yaml_does_not(decathlon):
    (decathlon / "dataset.yaml").write_text("classes: [background, edema, tumour]")
    with pytest.raises(DatasetError, match=r"both set classes; keep it in"):
        load_dataset(decathlon)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        pytest.param([{"label": "drawings/a0.png"}], 'needs "image"', id="no image"),
        pytest.param([{"image": "pictures/a0.png"}], 'needs "label"', id="no label"),
        pytest.param([{**listed(0), "label": ["a", "b"]}], "one mask an image", id="two masks"),
    ],
)
def test_an_entry_that_cannot_be_used_is_shown(files, entries, words):
    with pytest.raises(DatasetError, match=words):
        load_dataset(write_list(files, training=entries))
