"""Objects that touch, split by their shape."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

import seg.objects.splitting
from seg.errors import ConfigError
from seg.images import Image, write_image
from seg.inference import Predictor, Selection
from seg.inference.object_files import ROWS, predict_objects_file, rows_in
from seg.model_package import Instances, ModelPackage, SplitRule, Splitting
from seg.objects import Shaping, boxes_of, components, split_labels
from tests.packages import write_package

BRIGHT = 220
"""That a tiny package takes for a nucleus."""


def discs(shape, *middles_and_radii, edges=None):
    """A mask of discs, or balls; middles and radii are in the unit of the edges."""
    edges = edges or (1.0,) * len(shape)
    grid = np.stack(np.indices(shape), -1) * edges
    return np.any([np.linalg.norm(grid - m, axis=-1) < r for m, r in middles_and_radii], axis=0)


def usual(*edges, **rule):
    return Shaping(SplitRule(core=2.0, **rule), tuple(map(float, edges)))


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return ModelPackage.load(write_package(tmp_path_factory.mktemp("split") / "package"))


def with_values(package, **fields):
    splitting = Splitting(rules={"nucleus": SplitRule(core=2.0)}, **{"unit": "voxel", **fields})
    return replace(package, card=package.card.model_copy(update={"splitting": splitting}))


def touching(shape=(48, 64)):
    return Image(BRIGHT * discs(shape, ((20, 18), 9), ((20, 34), 9), ((38, 52), 7))[None])


@settings(max_examples=25, deadline=None)
@given(
    radius=st.floats(5, 14), ratio=st.floats(1, 1.6), overlap=st.floats(0.03, 0.15),
    angle=st.floats(0, np.pi),
)  # fmt: skip
def test_two_discs_come_apart_where_their_neck_is_a_voxel_narrower_than_the_rule(
    radius, ratio, overlap, angle
):
    other = radius * ratio
    apart = (radius + other) * (1 - overlap)
    along = (apart**2 + radius**2 - other**2) / (2 * apart)
    half_neck = np.sqrt(max(0.0, radius**2 - along**2))
    # both are distances between middles of voxels, so each is off by up to a voxel
    assume(half_neck + 1 < SplitRule().neck * (radius - 1))
    first = np.array([45.0, 45.0])
    second = first + apart * np.array([np.sin(angle), np.cos(angle)])
    labels = split_labels(
        components(discs((110, 110), (first, radius), (second, other))), usual(1, 1)
    )
    assert labels.max() == 2
    assert labels[tuple(first.astype(int))] != labels[tuple(second.astype(int))]


@settings(max_examples=25, deadline=None)
@given(
    long=st.floats(6, 30), short=st.floats(5, 15), angle=st.floats(0, np.pi),
    y=st.floats(0, 1), x=st.floats(0, 1),
)  # fmt: skip
def test_one_ellipse_or_rod_stays_one(long, short, angle, y, x):
    rows, columns = np.indices((80, 80)) - np.array([40 + y, 40 + x])[:, None, None]
    along = np.cos(angle) * rows + np.sin(angle) * columns
    across = np.cos(angle) * columns - np.sin(angle) * rows
    ellipse = (along / long) ** 2 + (across / short) ** 2 < 1
    rod = (np.abs(along) < long) & (np.abs(across) < short)
    for shape in (ellipse, rod):
        assert split_labels(components(shape), usual(1, 1)).max() == 1


def test_thick_slices_are_measured_in_mm():
    edges = (4.0, 1.0, 1.0)
    balls = discs(
        (12, 40, 40), ((20, 12, 20), 9), ((20, 27, 20), 9), edges=edges
    )  # 5 slices high, 18 voxels wide
    assert split_labels(components(balls), usual(*edges)).max() == 2
    flat = discs((12, 40, 40), ((20, 20, 20), 14), edges=edges)
    assert split_labels(components(flat), usual(*edges)).max() == 1


def test_a_hole_splits_nothing_and_is_filled():
    ring = discs((40, 40), ((20, 20), 15))
    ring[16:24, 14:26] = False
    labels = split_labels(components(ring), usual(1, 1))
    np.testing.assert_array_equal(labels, ndimage.binary_fill_holes(ring))


def test_what_is_smaller_than_the_smallest_is_left_out_and_no_part_is():
    mask = discs((40, 60), ((20, 15), 9), ((20, 30), 9), ((20, 48), 2.5))
    assert split_labels(components(mask), usual(1, 1)).max() == 3
    labels = split_labels(components(mask), usual(1, 1, smallest=100.0))
    assert labels.max() == 2
    assert (labels[:, 44:] == 0).all()
    assert split_labels(components(mask), usual(1, 1, smallest=300.0)).max() == 1
    assert split_labels(components(mask), usual(0.5, 0.5, smallest=100.0)).max() == 1  # mm²


def test_objects_are_numbered_by_their_first_voxels(package):
    objects = Predictor(with_values(package), selection=Selection(split=True)).objects(touching())
    numbers, first = np.unique(objects.labels, return_index=True)
    assert list(numbers) == list(range(len(objects) + 1))
    assert list(first[1:]) == sorted(first[1:])


def test_a_model_of_classes_splits_only_where_it_is_asked(package):
    package = with_values(package)
    plain = Predictor(package).objects(touching())
    assert plain.counts["nucleus"].found == 2
    assert not plain.are_told_apart
    split = Predictor(package, selection=Selection(split=True)).objects(touching())
    assert split.counts["nucleus"].found == 3
    assert split.counts["nucleus"].interval is None
    assert split.are_told_apart
    assert len({split.labels[20, 18], split.labels[20, 34], split.labels[38, 52]} - {0}) == 3


def test_classes_without_values_stay_whole(package):
    image = Image(np.where(touching().array > 0, 128, 0).astype(np.uint8))
    split = Predictor(with_values(package), selection=Selection(split=True)).objects(image)
    assert split.counts["cytoplasm"].found == 2


def test_a_package_of_before_splits_by_usual_values_and_says_so(package):
    predictor = Predictor(package, selection=Selection(split=True))
    found = predictor.segment(touching(), with_objects=True)
    assert found.objects.counts["nucleus"].found == 3
    assert any("usual ones" in warning for warning in found.quality.warnings)
    known = Predictor(with_values(package), selection=Selection(split=True))
    assert not any("usual" in warning for warning in known.warnings(touching()))


def test_a_model_that_tells_objects_apart_by_itself_refuses(tmp_path):
    package = ModelPackage.load(write_package(tmp_path / "package", objects=True))
    with pytest.raises(ConfigError, match="by itself"):
        Predictor(package, selection=Selection(split=True))


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """Tells objects apart, and splits what it leaves in one."""
    folder = tmp_path_factory.mktemp("apart") / "package"
    package = ModelPackage.load(write_package(folder, objects=True))
    return with_rest_split(package)


def with_rest_split(package, **rules):
    rules = rules or {"nucleus": SplitRule(core=2.0)}
    splitting = Splitting(unit="voxel", rules=rules)
    instances = package.card.instances.model_copy(update={"splitting": splitting})
    return replace(package, card=package.card.model_copy(update={"instances": instances}))


def test_what_a_model_leaves_in_one_is_split_without_being_asked(apart):
    instances = apart.card.instances.model_copy(update={"splitting": None})
    without = replace(apart, card=apart.card.model_copy(update={"instances": instances}))
    assert Predictor(without).objects(touching()).counts["nucleus"].found == 2
    split = Predictor(apart).objects(touching())
    assert split.counts["nucleus"].found == 3
    assert split.are_told_apart
    assert not np.isnan(split.probabilities).any()


def test_values_of_a_class_without_objects_are_refused(apart):
    with pytest.raises(ValidationError, match="have none: membrane"):
        Instances.model_validate(
            with_rest_split(apart, membrane=SplitRule()).card.instances.model_dump()
        )


@pytest.mark.parametrize("knows", ["classes", "objects"])
def test_an_image_that_stays_in_its_file_has_the_same_objects(package, apart, knows, tmp_path):
    import tifffile

    rng = np.random.default_rng(0)
    spots = [(rng.uniform(10, 110, 2), rng.uniform(5, 9)) for _ in range(40)]
    image = Image((BRIGHT * discs((120, 130), *spots)).astype(np.uint8)[None])
    tifffile.imwrite(tmp_path / "in.tif", image.array[0])
    predictor = Predictor(apart)
    if knows == "classes":
        predictor = Predictor(with_values(package), selection=Selection(split=True))
    expected = predictor.objects(image)
    targets = {tmp_path / "out.tif": "instances", tmp_path / "rows": ROWS}
    found = predict_objects_file(predictor, [tmp_path / "in.tif"], targets)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), expected.labels)
    assert len(list(rows_in(tmp_path / "rows"))) == len(expected)
    assert found.are_told_apart


def test_what_is_too_large_to_be_split_is_told(package, tmp_path, monkeypatch):
    predictor = Predictor(with_values(package), selection=Selection(split=True))
    assert not predictor.segment(touching(), with_objects=True).objects.notes
    monkeypatch.setattr(seg.objects.splitting, "LARGEST", 100)
    (told,) = predictor.segment(touching(), with_objects=True).quality.warnings[-1:]
    assert told.startswith("2 objects are too large to be split by shape")
    write_image(tmp_path / "a.tif", Image(touching().array.astype(np.uint8)))
    rows = {tmp_path / "rows": ROWS}
    assert predict_objects_file(predictor, [tmp_path / "a.tif"], rows).warnings[-1:] == (told,)


def test_boxes_are_those_of_scipy():
    labels = np.random.default_rng(1).integers(0, 9, (30, 17)).astype(np.uint32)
    labels[:12] = 0
    boxes = boxes_of(labels, 8)
    assert boxes == ndimage.find_objects(labels.astype(np.int32))
