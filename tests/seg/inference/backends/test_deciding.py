"""Labels that are taken where the network runs: the same answers, a fraction of the bytes."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx.parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seg.errors import BackendError
from seg.images import Image
from seg.inference import OnnxBackend, Predictor, verify_golden
from seg.inference.backends.bound import BoundSession
from seg.inference.backends.deciding import HEAD, decided_by
from seg.inference.backends.onnx import takes_labels
from seg.inference.backends.sessions import open_session
from seg.inference.tiling.apart import are_apart
from seg.metrics import DiceCalibration, SelfAssessment
from seg.model_package import ModelPackage
from tests.packages import write_package

HALF = 2**-11
"""What float16 rounds away of a number below 1, at most."""


@pytest.fixture(scope="module")
def head():
    return BoundSession(open_session(HEAD, "cpu"), on_card=False, callers=1)


@pytest.fixture(scope="module", params=[(32, 32), (8, 16, 16)], ids=["2D", "3D"])
def package(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("deciding") / "package"
    package = ModelPackage.load(write_package(folder, patch=request.param))
    dice = {"cytoplasm": DiceCalibration(), "nucleus": DiceCalibration()}
    quality = SelfAssessment(temperature=1.5, dice=dice)
    card = package.card.model_copy(update={"quality": quality})
    return dataclasses.replace(package, card=card)


def backends(package):
    file = package.model_file()
    return [OnnxBackend(file, provider="cpu", decides=decides) for decides in (False, True)]


def image(shape, seed=0):
    rng = np.random.default_rng(seed)
    return Image(rng.integers(0, 255, (1, *shape)).astype(np.uint8))


def test_the_graph_is_the_one_that_its_text_says():
    text = Path(HEAD).with_suffix(".txt").read_text()
    assert onnx.load(HEAD) == onnx.parser.parse_model(text)


@settings(max_examples=25)
@given(
    st.integers(2, 6), st.integers(2, 3), st.integers(0, 2**31), st.floats(0.5, 3),
    st.floats(0.1, 60),
)  # fmt: skip
def test_the_graph_says_what_the_host_says(head, classes, dims, seed, temperature, spread):
    rng = np.random.default_rng(seed)
    shape = (2, classes, *(7, 6, 5)[:dims])
    logits = (spread * rng.normal(size=shape)).astype(np.float32)
    inside = rng.integers(0, 2, (2, 1, *shape[2:])).astype(np.uint8)
    feeds = {"logits": logits, "temperature": np.float32([temperature]), "inside": inside}
    each = (2, *shape[2:])
    names = {"labels": each, "likeliest": each, "entropy": each, "mass": (2, classes)}
    found = head.run(feeds, names)
    for labels, likeliest, entropy, mass, of_patch, mask in zip(
        *found, logits, inside[:, 0], strict=True
    ):
        right = decided_by(of_patch, mask, temperature)
        np.testing.assert_array_equal(labels, right.labels)
        np.testing.assert_allclose(likeliest, right.likeliest, atol=2 * HALF)
        np.testing.assert_allclose(entropy, right.entropy, atol=2 * HALF)
        np.testing.assert_allclose(mass, right.mass, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("smaller", [0, 5])
def test_mask_and_quality_are_those_of_the_logits(package, smaller):
    on_host, on_card = backends(package)
    shape = tuple(n - smaller for n in on_host.patch)
    picture = image(shape)
    right, found = (
        Predictor(package, each).segment(picture, maps=["uncertainty"])
        for each in (on_host, on_card)
    )
    np.testing.assert_array_equal(found.mask.array, right.mask.array)
    assert found.mask.array.any()
    ours, theirs = (each.maps["uncertainty"].array for each in (found, right))
    np.testing.assert_allclose(ours, theirs, atol=2 * HALF)
    assert right.quality.predicted_dice
    for name, dice in right.quality.predicted_dice.items():
        assert found.quality.predicted_dice[name] == pytest.approx(dice, abs=1e-3)
    assert found.quality.uncertainty == pytest.approx(right.quality.uncertainty, abs=1e-3)
    assert found.quality.strangeness == pytest.approx(right.quality.strangeness, nan_ok=True)
    assert found.windows.total == right.windows.total == 1


def test_five_bytes_a_voxel_come_back_and_not_four_a_class(package):
    on_host, on_card = backends(package)
    picture = image(on_host.patch)
    voxels = np.prod(on_host.patch)
    for backend in (on_host, on_card):
        Predictor(package, backend).segment(picture)
    a_class = 4 * len(package.card.classes)
    assert on_host.bytes_back / voxels == pytest.approx(a_class, rel=0.01)
    assert on_card.bytes_back / voxels == pytest.approx(5, rel=0.01)


def test_windows_without_overlap_are_pasted_and_others_blended(package):
    card = package.card
    apart = card.model_copy(update={"input": card.input.model_copy(update={"overlap": 0.0})})
    pasted = dataclasses.replace(package, card=apart)
    for both, expected in ((pasted, 5), (package, 4 * len(card.classes))):
        on_host, on_card = backends(both)
        shape = tuple(2 * n for n in on_host.patch)
        right, found = (Predictor(both, each).segment(image(shape)) for each in (on_host, on_card))
        np.testing.assert_array_equal(found.mask.array, right.mask.array)
        assert found.windows.total == right.windows.total
        bytes_a_window = on_card.bytes_back / found.windows.total
        assert bytes_a_window / np.prod(on_host.patch) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("of_package", "asked"), [(0.5, 0.0), (0.0, 0.5)])
def test_the_overlap_that_is_asked_for_says_whether_windows_are_blended(package, of_package, asked):
    card = package.card
    spec = card.input.model_copy(update={"overlap": of_package})
    package = dataclasses.replace(package, card=card.model_copy(update={"input": spec}))
    on_host, on_card = backends(package)
    shape = tuple(2 * n for n in on_host.patch)
    right, found = (
        Predictor(package, each, overlap=asked).segment(image(shape)) for each in (on_host, on_card)
    )
    np.testing.assert_array_equal(found.mask.array, right.mask.array)
    bytes_a_window = on_card.bytes_back / found.windows.total
    expected = 4 * len(card.classes) if asked else 5
    assert bytes_a_window / np.prod(on_host.patch) == pytest.approx(expected, rel=0.01)


def test_what_needs_logits_gets_them(package):
    on_host, on_card = backends(package)
    picture = image(on_host.patch)
    right, found = (
        Predictor(package, each).segment(picture, maps=["probabilities"])
        for each in (on_host, on_card)
    )
    ours, theirs = (each.maps["probabilities"].array for each in (found, right))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("size", "overlap", "apart"),
    [(20, 0.5, True), (32, 0.5, True), (64, 0.0, True), (60, 0.0, False), (64, 0.25, False)],
)
def test_windows_are_apart_where_they_share_no_voxel(size, overlap, apart):
    assert are_apart((size, 8), (32, 32), overlap) == apart


def test_a_cpu_gives_logits_by_itself_and_says_why_a_run_failed(package):
    backend = OnnxBackend(package.model_file(), provider="cpu")
    assert not takes_labels(backend)
    wrong = np.zeros((1, 5, *backend.patch), np.float32)
    with pytest.raises(BackendError, match="the network failed on a batch of patches"):
        backend.decide(wrong, np.ones((1, 1, *backend.patch), np.uint8), 1.0)


def test_a_head_that_is_wrong_here_is_not_used(package, tmp_path, monkeypatch, caplog):
    right = OnnxBackend(package.model_file(), provider="cpu", decides=True)
    assert verify_golden(package, right) <= 1e-4
    assert right.decides
    text = Path(HEAD).with_suffix(".txt").read_text()
    other = tmp_path / "head.onnx"
    onnx.save(onnx.parser.parse_model(text.replace("ArgMax", "ArgMin")), other)
    monkeypatch.setattr("seg.inference.backends.onnx.HEAD", other)
    wrong = OnnxBackend(package.model_file(), provider="cpu", decides=True)
    assert verify_golden(package, wrong) <= 1e-4
    assert not wrong.decides
    assert "labels are taken on the host" in caplog.text
