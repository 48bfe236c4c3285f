"""Every layout that docs/datasets.md shows, made as it stands there and loaded."""

import json
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
import yaml

from tests.datasets import write_png
from training.dataset import check_dataset, load_dataset

DOCS = Path(__file__).parents[3] / "docs" / "datasets.md"
SECTION = re.compile(r"^### (.+?)\n(.*?)(?=^##)", re.M | re.S)
FILES = re.compile(r"```text\n(.*?)```", re.S)
WRITTEN = re.compile(r"^`(dataset\.yaml|\w+\.json)`:\n\n```\w+\n(.*?)```", re.M | re.S)
IS_MASK = re.compile(r"(masks|labelsTr|drawn)/|.*/seg\.")

SHOWN = {title: text for title, text in SECTION.findall(DOCS.read_text()) if FILES.search(text)}

VALUES = {
    "Plain folders with a `dataset.yaml`": [0, 255, 128],
    "Masks of colours": [(0, 0, 0), (255, 0, 0), (0, 0, 255), (255, 255, 255)],
    "Masks of object numbers": [0, 1, 2, 77],
    "Classes that overlap": [0, 1, 2, 3],
    "nnU-Net raw format": [0, 1, 2, 3],
    "Medical Segmentation Decathlon": [0, 1, 2],
}
EXPECTED = {
    "Plain folders": (["class_1"], 1),
    "Plain folders with a `dataset.yaml`": (["vessel"], 1),
    "Masks of colours": (["artery", "vein"], 1),
    "Masks of object numbers": (["nucleus"], 1),
    "Classes that overlap": (["whole tumour", "tumour core", "active tumour"], 1),
    "nnU-Net raw format": (["whole tumour", "core"], 2),
    "Medical Segmentation Decathlon": (["edema", "tumour"], 2),
    "MONAI datalist": (["spleen"], 1),
    "Annotations of a tool": (["cell"], 1),
    "A folder for each case": (["class_1"], 2),
    "Subjects": (["class_1"], 1),
}


def make(folder, title):
    text = SHOWN[title]
    for number, line in enumerate(FILES.search(text)[1].splitlines()):
        rng = np.random.default_rng(number)
        path = folder / line
        path.parent.mkdir(parents=True, exist_ok=True)
        is_mask = bool(IS_MASK.match(line))
        values = np.array(VALUES.get(title, [0, 1]) if is_mask else range(200))
        shape = (12, 10, 6) if line.endswith(".nii.gz") else (24, 20)
        if title == "Medical Segmentation Decathlon" and not is_mask:
            shape = (*shape, 2)
        drawn = values[rng.integers(len(values), size=shape)].astype(np.uint8)
        if is_mask and title == "Masks of object numbers":  # each hangs together
            drawn = np.sort(drawn, axis=None).reshape(shape)
        write(path, drawn)
    for name, content in WRITTEN.findall(text):
        (folder / name).write_text(content)
        (json.loads if name.endswith(".json") else yaml.safe_load)(content)
    return folder


def write(path, array):
    if path.name.endswith(".nii.gz"):
        nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 2.5, 1.0])), path)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, array)
    else:
        write_png(path, array)


def test_every_section_with_files_is_tested():
    assert SHOWN.keys() == EXPECTED.keys()


@pytest.mark.parametrize("title", EXPECTED)
def test_a_layout_loads_as_it_is_shown(tmp_path, title):
    dataset = load_dataset(make(tmp_path, title))
    names, channels = EXPECTED[title]
    assert [each.name for each in dataset.classes[1:]] == names
    assert len(dataset.channels) == channels
    assert dataset.train
    assert dataset.test
    check_dataset(dataset)
    assert bool(dataset.legend.regions) == (title in ("Classes that overlap", "nnU-Net raw format"))
    assert dataset.legend.ignores == ("ignore" in SHOWN[title])
