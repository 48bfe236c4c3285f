"""What DICOM's tables demand of an object is in it, by the tables that highdicom carries."""

import io
import json
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from seg.images import Mask, encode_mask
from tests.seg.images.dicom.sources import image_of, labels_of

FOLDER = Path(highdicom.__file__).parent / "_standard"
IODS, MODULES, ATTRIBUTES = (
    json.loads((FOLDER / f"{name}.json").read_text())
    for name in ("sop_class_iod_map", "iod_module_map", "module_attribute_map")
)

FUNCTIONAL_GROUPS = (["SharedFunctionalGroupsSequence"], ["PerFrameFunctionalGroupsSequence"])
"""Each macro stands in one of them; the tables name it in both."""


def gaps(dataset):
    """Attributes of type 1 or 2 that are missing, and of type 1 that are empty."""
    modules = [each["key"] for each in MODULES[IODS[dataset.SOPClassUID]] if each["usage"] == "M"]
    found = set()
    for attribute in (each for module in modules for each in ATTRIBUTES[module]):
        path, name = attribute["path"], attribute["keyword"]
        if attribute["type"] not in ("1", "2") or path[-1:] in FUNCTIONAL_GROUPS:
            continue
        for item in items_at(dataset, path):
            if name not in item or (attribute["type"] == "1" and item[name].is_empty):
                found.add(".".join([*path, name]))
    return found


def items_at(dataset, path):
    items = [dataset]
    for name in path:
        items = [child for item in items for child in item.get(name) or ()]
    return items


@pytest.mark.parametrize("format", ["dicom-seg", "dicom-sc", "rtstruct"])
@pytest.mark.parametrize("top", [1, 3], ids=["without foreground", "with foreground"])
def test_an_object_has_what_the_standard_demands(tmp_path, classes, format, top):
    image = image_of(tmp_path / "series", np.eye(3))
    mask = Mask.on_grid_of(image, labels_of(image, top=top))
    dataset = pydicom.dcmread(io.BytesIO(encode_mask(mask, format, classes, image)))
    assert gaps(dataset) == set()
    del dataset.StudyInstanceUID, dataset.SeriesInstanceUID
    assert gaps(dataset) == {"StudyInstanceUID", "SeriesInstanceUID"}
