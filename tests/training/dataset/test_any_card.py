"""Whatever stands in the files that describe a dataset, the answer is a dataset or one sentence."""

import json
from contextlib import suppress

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seg.errors import DatasetError
from tests.datasets import mask_values, write_png
from training.dataset import Dataset, load_dataset

NAMES = ("a", "b", "c")
LISTED = [{"image": f"images/{n}.png", "label": f"masks/{n}.png", "fold": 0} for n in NAMES]
RAW = {
    "channel_names": {"0": "light"},
    "labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 9},
    "regions_class_order": [1, 2],
    "colors": {"core": [1, 2, 3]},
    "modalities": ["CT"],
    "numTraining": 3,
    "file_ending": ".png",
    "name": "x",
}
DECATHLON = {
    "modality": {"0": "MRI"},
    "labels": {"0": "background", "1": "x", "2": "y", "9": "ignore"},
    "training": LISTED,
    "test": ["images/z.png"],
}
PLAIN = {
    "name": "x",
    "classes": [{"name": "a", "value": 0}, {"name": "b", "values": [1, 2], "color": [1, 2, 3]}],
    "masks": "values",
    "ignore": 9,
    "channels": ["light"],
    "subjects": {"pattern": "(.)"},
    "split": {"test": ["a"]},
}

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.floats(allow_nan=True) | st.text()
    | st.sampled_from([*NAMES, "0", "background", "ignore", "colors", "instances", "a.png", "("]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def places(content, path=()):
    """Every place in nested lists and mappings."""
    yield path
    if isinstance(content, dict | list):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in items:
            yield from places(value, (*path, key))


def changed(content, path, value):
    if not path:
        return value
    content = content.copy()
    content[path[0]] = changed(content[path[0]], path[1:], value)
    return content


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("cards")
    for layout, (images, masks, ending) in {
        "raw": ("imagesTr", "labelsTr", "_0000.png"),
        "decathlon": ("images", "masks", ".png"),
        "plain": ("images", "masks", ".png"),
    }.items():
        for index, name in enumerate(NAMES):
            image = np.random.default_rng(index).integers(0, 255, (8, 9))
            write_png(root / layout / images / f"{name}{ending}", image)
            write_png(root / layout / masks / f"{name}.png", mask_values(1, 2, 9, size=(8, 9)))
    return root


@pytest.mark.parametrize(
    ("layout", "file", "content"),
    [
        pytest.param("raw", "dataset.json", RAW, id="nnU-Net"),
        pytest.param("decathlon", "dataset.json", DECATHLON, id="Decathlon"),
        pytest.param("plain", "dataset.yaml", PLAIN, id="plain"),
    ],
)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(data=st.data())
def test_a_card_with_anything_in_any_place(folders, layout, file, content, data):
    path = data.draw(st.sampled_from(list(places(content))))
    altered = changed(content, path, data.draw(anything))
    text = json.dumps(altered) if file.endswith("json") else yaml.safe_dump(altered)
    (folders / layout / file).write_text(text, encoding="utf-8")
    with suppress(DatasetError):
        dataset = load_dataset(folders / layout)
        assert isinstance(dataset, Dataset)
        assert dataset.train
        assert dataset.test
        for case in dataset.cases:
            dataset.read(case)


@pytest.mark.parametrize(
    ("layout", "file", "content"),
    [("raw", "dataset.json", RAW), ("decathlon", "dataset.json", DECATHLON),
     ("plain", "dataset.yaml", PLAIN)],
)  # fmt: skip
def test_the_cards_themselves_load(folders, layout, file, content):
    text = json.dumps(content) if file.endswith("json") else yaml.safe_dump(content)
    (folders / layout / file).write_text(text)
    dataset = load_dataset(folders / layout)
    for case in dataset.cases:
        dataset.read(case)
