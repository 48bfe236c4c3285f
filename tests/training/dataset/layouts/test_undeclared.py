"""Values that nobody declared: what they look like is told, real classes are left alone."""

import numpy as np
import pytest
import tifffile
from numpy.random import default_rng
from scipy import ndimage

from tests.datasets import write_png
from training.dataset import load_dataset, look_into


def discs(seed, number=6, size=96):
    rng = default_rng(seed)
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.uint8)
    for k in range(1, number + 1):
        cy, cx = rng.uniform(8, size - 8, 2)
        labels[((y - cy) ** 2 + (x - cx) ** 2 < rng.uniform(6, 11) ** 2) & (labels == 0)] = k
    return labels


def organs(seed):
    """Three organs, each with a place and a size of its own."""
    rng = default_rng(seed)
    y, x = np.mgrid[:96, :96]
    labels = np.zeros((96, 96), np.uint8)
    for k, (cy, cx, r) in enumerate(((25, 25, 18), (70, 30, 9), (50, 75, 4)), start=1):
        cy, cx, r = cy + rng.normal(0, 2), cx + rng.normal(0, 2), r * rng.uniform(0.9, 1.1)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < r * r] = k
    return labels


def rim(seed):
    mask = (discs(seed) > 0).astype(np.uint8) + (discs(seed) > 3)
    mask[ndimage.binary_dilation(mask > 0, iterations=2) & (mask == 0)] = 255
    return mask


def smoothed(seed):
    return (ndimage.uniform_filter(255.0 * (discs(seed) > 0), 3) // 64 * 85).astype(np.uint8)


def nested(seed):
    """Discs within wider ones."""
    inner = discs(seed, number=4) > 0
    return inner.astype(np.uint8) + ndimage.binary_dilation(inner, iterations=5)


def problems(folder, make, cases=6):
    for seed in range(cases):
        (folder / "masks").mkdir(parents=True, exist_ok=True)
        write_png(folder / "images" / f"s{seed}.png", default_rng(seed).integers(0, 255, (96, 96)))
        mask = make(seed)
        if mask.dtype == np.uint16:
            tifffile.imwrite(folder / "masks" / f"s{seed}.tif", mask)
        else:
            write_png(folder / "masks" / f"s{seed}.png", mask)
    return [(f.severity, f.problem, f.advice) for f in look_into(folder)[1]]


@pytest.mark.parametrize(
    ("make", "severity", "said", "advice"),
    [
        pytest.param(
            lambda s: (discs(s) > 0) * (255 if s % 2 else 1),
            "error",
            "3 masks hold the values 0 and 1, 3 hold 0 and 255",
            "one way",
            id="two ways of writing",
        ),
        pytest.param(
            lambda s: np.minimum(discs(s), 2) * (100 if s % 2 else 1),
            "error",
            "3 masks hold the values 0 and 1, 2, 3 hold 0 and 100, 200",
            "one way",
            id="two ways of writing two classes",
        ),
        pytest.param(
            lambda s: np.where((two := np.minimum(discs(s), 2)) == 2, 255 if s % 2 else 2, two),
            "warning",
            "3 masks hold the values 1, 2, 3 hold 1, 255, and none holds both 2 and 255",
            "one way",
            id="one of two classes in two ways",
        ),
        pytest.param(
            lambda s: ((discs(s) > 0) * (65535 if s % 2 else 255)).astype(np.uint16),
            "warning",
            "255 in 3, 65535 in 3",
            "one way",
            id="masks of 8 and of 16 bits",
        ),
        pytest.param(rim, "warning", "the value 255 stands beside", "ignore: 255", id="rim"),
        pytest.param(smoothed, "warning", "nothing but rims around 255", "nearest", id="smooth"),
        pytest.param(
            discs, "warning", "the values 1 to 6 look like numbers of objects", "masks: instances",
            id="objects",
        ),
        pytest.param(
            lambda s: np.rint(ndimage.gaussian_filter(3.0 * np.minimum(discs(s), 2), 0.8)),
            "warning", "stand nowhere but between lower and higher ones", "nearest",
            id="two classes that were interpolated",
        ),
        pytest.param(
            lambda s: discs(s, number=3 + s), "warning", "look like numbers of objects",
            "masks: instances", id="as many objects as there are",
        ),
        pytest.param(
            lambda s: 1 + (discs(s) > 0), "warning", "no mask holds 0",
            "{name: background, value: 1}", id="counted from 1",
        ),
        pytest.param(
            lambda s: 255 * (discs(s) == 0), "warning",
            "the value 255 takes the borders of nearly all masks and most of what they show, with ",
            "[{name: background, value: 255}, {name: ..., value: 0}]",
            id="black on white",
        ),
        pytest.param(
            lambda s: np.array([255, 128, 0])[nested(s)], "warning", "with 0, 128 inside",
            "{name: background, value: 255}", id="two classes on white",
        ),
        pytest.param(
            lambda s: np.array([2, 3, 1])[nested(s)], "warning", "the value 3 lies between 2 and 1",
            "[{name: background, value: 2}, {name: ..., value: 1}] and ignore: 3",
            id="trimap counted from 1",
        ),
        pytest.param(
            lambda s: np.array([0, 128, 255])[nested(s)], "warning",
            "the value 128 lies between 0 and 255", "ignore: 128", id="trimap in grey",
        ),
        pytest.param(
            lambda s: 1 * (discs(s) > 0) + (s == 3), "warning", "1 of 6 masks, as this one",
            "as the others", id="one mask counted from 1",
        ),
        pytest.param(
            lambda s: (discs(s) > 0) * (128 if s % 2 else 255), "warning", "128 in 3, 255 in 3",
            "one way", id="two shades of one thing",
        ),
        pytest.param(
            lambda s: (discs(s) > 0) * (2 if s == 1 else 1), "warning", "1 in 5, 2 in 1",
            "one way", id="twice the number in one mask, as by a factor in its header",
        ),
        pytest.param(
            lambda s: np.where(np.indices((96, 96)).min(0) < 3, 254, discs(s) > 0), "warning",
            "254 stands far from the others", "ignore: 254", id="another value to ignore",
        ),
        pytest.param(
            lambda s: discs(s) if s == 2 else discs(s) > 0, "warning",
            "seem to number objects", "one way", id="objects are numbered in one mask",
        ),
        pytest.param(
            lambda s: np.where((np.indices((96, 96)).sum(0) == 0) & (s == 2), 7, discs(s) > 0),
            "warning", "stands in 1 pixel of this mask", "correct", id="a stray pixel",
        ),
    ],
)  # fmt: skip
def test_values_that_are_hardly_classes_are_told_with_what_to_write(
    make, severity, said, advice, tmp_path
):
    (found,) = problems(tmp_path, make)
    assert found[0] == severity
    assert said in found[1]
    assert advice in found[2]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda s: 255 * (discs(s) > 0), id="0 and 255"),
        pytest.param(lambda s: np.minimum(discs(s), 2), id="two classes in many pieces"),
        pytest.param(lambda s: np.array([0, 128, 255, 128, 255, 128, 255])[discs(s)], id="shades"),
        pytest.param(organs, id="organs"),
        pytest.param(nested, id="nuclei in cells"),
        pytest.param(
            lambda s: 2 * (discs(s) > 0) - ndimage.binary_dilation(discs(s) == 0) * (discs(s) > 0),
            id="a border of its own",
        ),
        pytest.param(lambda s: organs(s) * (s > 0), id="organs, one mask empty"),
        pytest.param(
            lambda s: np.array([0, 1, 1, 1])[organs(s)] * (1 + s % 2), id="a class a mask"
        ),
    ],
)
def test_classes_are_left_alone(make, tmp_path):
    assert problems(tmp_path, make) == []


@pytest.mark.parametrize("step", [5_592_405, 357_913_941])
def test_numbers_that_no_class_has_are_told(tmp_path, step):
    """As of packed colors: a list of all values up to them took gigabytes."""
    for seed in range(3):
        write_png(
            tmp_path / "images" / f"s{seed}.png", default_rng(seed).integers(0, 255, (96, 96))
        )
        (tmp_path / "masks").mkdir(exist_ok=True)
        numbers = discs(seed).astype(np.uint32) * step
        tifffile.imwrite(tmp_path / "masks" / f"s{seed}.tif", numbers)
    (finding,) = look_into(tmp_path)[1]
    assert f"values as large as {6 * step}" in finding.problem


def test_black_and_white_of_16_bits_is_no_number_of_objects(tmp_path):
    assert problems(tmp_path, lambda s: 255 * (discs(s) > 0)) == []
    for seed in range(6):
        (tmp_path / "masks" / f"s{seed}.png").unlink()
        tifffile.imwrite(
            tmp_path / "masks" / f"s{seed}.tif", 65535 * (discs(seed) > 0).astype("u2")
        )
    assert look_into(tmp_path)[1] == []


def test_what_is_declared_is_not_doubted(tmp_path):
    (tmp_path / "dataset.yaml").write_text(
        "classes: [background, a, b, c, d, e, {name: f, value: 6}]\n"
    )
    assert problems(tmp_path, discs) == []


def test_what_is_advised_for_masks_that_are_inside_out_is_understood(tmp_path):
    (tmp_path / "dataset.yaml").write_text(
        "classes: [{name: background, value: 255}, {name: disc, value: 0}]\n"
    )
    assert problems(tmp_path, lambda s: 255 * (discs(s) == 0)) == []
    dataset = load_dataset(tmp_path)
    assert np.array_equal(dataset.read(dataset.cases[0])[1].array, discs(0) > 0)
