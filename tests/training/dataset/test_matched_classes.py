"""Classes and channels of a package and of a dataset are matched by name, never by rank."""

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from seg.errors import DatasetError
from seg.images import ClassInfo
from seg.model_package import Channel
from tests.datasets import plain_folder, write_png
from training.dataset import load_dataset, look_into
from training.dataset.matched_classes import matched, on_channels, on_classes, taken_by_place


def classes(**values):
    """Background, then classes by name with the value that stood for them in training."""
    names = ["background", *values]
    return tuple(
        ClassInfo(
            index=index,
            name=name,
            color=(0, 0, 0),
            values=() if values.get(name, 0) is None else (values.get(name, 0),),
        )
        for index, name in enumerate(names)
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "places"),
    [
        (classes(liver=1, spleen=2), classes(spleen=1, liver=2), [0, 2, 1]),
        (classes(liver=1), classes(spleen=1), [0, None]),
        (classes(class_1=1, class_2=3), classes(class_1=3, class_2=5), [0, None, 1]),
        (classes(class_1=1, class_2=3), classes(nucleus=3, cell=1), [0, 2, 1]),
        (classes(left_kidney=1), classes(**{"Left Kidney": 4}), [0, 1]),
        (classes(class_1=None), classes(class_1=7), [0, 1]),
        (classes(cell=None), classes(class_1=7), [0, None]),
    ],
)
def test_classes_are_matched_by_the_names_that_somebody_gave_else_by_value(ours, theirs, places):
    assert matched(ours, theirs) == places


def labels(dataset):
    return sorted(
        {int(label) for case in dataset.cases for label in dataset.read(case)[1].array[0]}
    )


def card(folder, text):
    (folder / "dataset.yaml").write_text(f"classes: [background, {text}]\n")
    return load_dataset(folder)


def test_labels_come_in_the_order_of_the_package(tmp_path):
    plain_folder(tmp_path, values=(3, 3, 5))
    dataset = card(tmp_path, "{name: nucleus, value: 5}, {name: cell, value: 3}")
    assert dataset.read(dataset.cases[0])[1].array[0].tolist() == [2, 2, 1, 0, 0, 0]
    package = classes(cell=1, nucleus=2)
    on = on_classes(dataset, package, "exclusive")
    assert on.read(on.cases[0])[1].array[0].tolist() == [1, 1, 2, 0, 0, 0]
    assert on.classes == package


@pytest.mark.parametrize("ignored", ["", "ignore: 9\n"])
def test_objects_of_a_table_come_in_the_order_of_the_package(tmp_path, ignored):
    plain_folder(tmp_path, values=(7, 1, 9))
    text = f"masks: instances\nclasses: [background, nucleus, cell]\nobjects: t.csv\n{ignored}"
    (tmp_path / "dataset.yaml").write_text(text)
    rows = "a0,7,cell\na0,1,nucleus\na0,9,cell\n"
    (tmp_path / "t.csv").write_text(f"case,label,class\n{rows}")
    dataset = load_dataset(tmp_path)
    on = on_classes(dataset, classes(cell=None, nucleus=None), "exclusive")
    expected = [1, 2, 255 if ignored else 1, 0, 0, 0]
    assert on.read(on.cases[0])[1].array[0].tolist() == expected


def test_regions_come_in_the_order_of_the_package(tmp_path):
    plain_folder(tmp_path, values=(1, 2))
    dataset = card(tmp_path, "{name: core, value: 2}, {name: whole, values: [1, 2]}")
    on = on_classes(dataset, classes(whole=1, core=2), "regions")
    _, mask = on.read(on.cases[0])
    assert on.legend.members()[mask.array[0, :3]].tolist() == [
        [True, False],
        [True, True],
        [False, False],
    ]


@pytest.mark.parametrize(
    "package",
    [classes(cell=1), classes(cell=1, nucleus=2, lumen=3), classes(cell=1, liver=2)],
)
def test_a_class_that_one_side_lacks_is_refused(package, tmp_path):
    plain_folder(tmp_path, values=(1, 2))
    dataset = card(tmp_path, "cell, nucleus")
    with pytest.raises(DatasetError, match=r"the dataset has cell \(1\), nucleus \(2\); evaluate"):
        on_classes(dataset, package, "exclusive")


def test_masks_that_say_nothing_hold_what_the_package_was_trained_on(tmp_path):
    plain_folder(tmp_path, values=(3,))
    dataset = load_dataset(tmp_path, classes(class_1=1, class_2=3))
    assert labels(dataset) == [0, 2]
    assert [info.name for info in dataset.classes] == ["background", "class_1", "class_2"]


def test_a_value_that_the_package_does_not_know_is_named(tmp_path):
    plain_folder(tmp_path, values=(3, 5))
    with pytest.raises(DatasetError, match=r"the values 5, which no class .*class_2 = 3\)"):
        load_dataset(tmp_path, classes(class_1=1, class_2=3))


@pytest.mark.parametrize(("was", "now"), [(1, 255), (255, 1)])
def test_one_thing_is_one_thing_whether_written_as_1_or_as_255(was, now, tmp_path):
    plain_folder(tmp_path, values=(now,))
    assert labels(load_dataset(tmp_path, classes(nucleus=was))) == [0, 1]
    with pytest.raises(DatasetError, match="which no class"):
        load_dataset(plain_folder(tmp_path / "b", values=(7,)), classes(nucleus=was))


@pytest.mark.parametrize(("values", "is_told"), [((1,), True), ((1, 3), False), ((0,), False)])
def test_a_class_that_no_mask_shows_is_told_where_masks_say_nothing(values, is_told, tmp_path):
    _, found = look_into(plain_folder(tmp_path, values=values), classes(small=1, large=3))
    assert ["no mask shows large" in each.problem for each in found] == [True] * is_told


def test_empty_masks_can_be_scored(tmp_path):
    plain_folder(tmp_path, values=(0,), cases=1)
    dataset = load_dataset(tmp_path, classes(nucleus=1))
    assert [case.split for case in dataset.cases] == ["test"]


def two_channels(folder, names, *, in_one_file=False):
    plain_folder(folder, values=(1, 1))
    for image in list((folder / "images").iterdir()):
        array = np.asarray(Picture.open(image))
        array = array if array.ndim == 2 else array[..., 0]
        image.unlink()
        if in_one_file:
            tifffile.imwrite(image.with_suffix(".tif"), np.stack([array * 0 + 1, array * 0 + 2]))
            continue
        for channel in (0, 1):
            write_png(image.with_name(f"{image.stem}_000{channel}.png"), array * 0 + channel + 1)
    (folder / "dataset.yaml").write_text(f"channels: {names}\nclasses: [background, cell]\n")
    return load_dataset(folder)


def taking(*names):
    return tuple(Channel(name=name) for name in names)


@pytest.mark.parametrize(
    ("package", "first"),
    [
        (taking("dye", "light"), 1),
        (taking("Light", "Dye"), 2),
        (taking("channel_0", "channel_1"), 1),
    ],
    ids=["alike", "the other way round", "without names"],
)
def test_channels_come_in_the_order_of_the_package(package, first, tmp_path):
    on = on_channels(two_channels(tmp_path, "[dye, light]"), package)
    assert on.read(on.cases[0])[0].array[:, 0, 0].tolist() == [first, 3 - first]


@pytest.mark.parametrize(
    ("package", "in_one_file", "said"),
    [
        (taking("dye", "phase"), False, "name in dataset.yaml those alike that show the same"),
        (taking("light", "dye"), True, "write them in the package's order, or one file each"),
    ],
    ids=["alike in part", "in one file"],
)
def test_channels_that_cannot_be_told_apart_are_refused(package, in_one_file, said, tmp_path):
    dataset = two_channels(tmp_path, "[dye, light]", in_one_file=in_one_file)
    with pytest.raises(DatasetError, match=said):
        on_channels(dataset, package)


@pytest.mark.parametrize(
    ("package", "is_told"),
    [
        (taking("DAPI", "phase"), True),
        (taking("channel_0", "channel_1"), False),
        (taking("light", "dye"), False),
    ],
    ids=["other names", "without names", "the same names"],
)
def test_channels_that_are_named_otherwise_are_told_to_be_taken_by_place(
    package, is_told, tmp_path
):
    said = taken_by_place(two_channels(tmp_path, "[dye, light]"), package)
    assert ("dye, light are taken as DAPI, phase, in this order" in said) == bool(said) == is_told
