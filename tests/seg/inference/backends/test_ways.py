"""Which arithmetic runs a package: float32, unless it is known that coarser loses nothing."""

import numpy as np
import pytest

from seg.errors import BackendError, ConfigError
from seg.images import Image
from seg.inference import Predictor, load_backend, verify_golden
from seg.inference.backends import ways
from seg.inference.backends.loading import load_way
from seg.inference.backends.ways import Way, way_of, ways_of
from seg.model_package import FasterWays, ModelCard, ModelPackage, PrecisionCost
from tests.packages import INSTANCES, write_package

BFLOAT16 = Way("openvino", "bfloat16")
needs_bfloat16 = pytest.mark.skipif(
    not ways.has_bfloat16(), reason="this CPU, or OpenVINO on it, has no bfloat16"
)


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return ModelPackage.load(write_package(tmp_path / "package"))


@pytest.fixture
def capable(monkeypatch):
    monkeypatch.setattr(ways, "has_bfloat16", lambda: True)


def measured(package: ModelPackage, **changes: object) -> ModelPackage:
    """The package as if bfloat16 had been measured on five cases."""
    fields = {
        "cases": 5,
        "dice_lost": 0.0002,
        "ci95": (-0.0001, 0.0008),
        "labels_changed": 0.0004,
        "objects_changed": 0.01,
        "cpu_seconds": 1.0,
        "precision": "bfloat16",
        "provider": "openvino",
        "instead_of": package.card.members(),
        "tolerance": 0.1,
        "mean_tolerance": 0.01,
    }
    cost = PrecisionCost.model_validate(fields | changes)
    known = FasterWays(usual_overlap=0.5, precisions=(cost,))
    card = package.card.model_copy(update={"faster_ways": known})
    return ModelPackage(package.path, ModelCard.model_validate_json(card.model_dump_json()))


def test_a_package_that_nobody_measured_stays_float32(package, capable):
    assert {way.precision for way in ways_of(package.card)} == {"float32"}


def test_what_loses_nothing_may_run_where_the_hardware_has_it(package, capable, monkeypatch):
    card = measured(package).card
    assert BFLOAT16 in ways_of(card)
    assert BFLOAT16 not in ways_of(card, precision="float32")
    assert BFLOAT16 not in ways_of(card, provider="cpu")
    monkeypatch.setattr(ways, "has_bfloat16", lambda: False)
    assert BFLOAT16 not in ways_of(card)


@pytest.mark.parametrize(
    "changes",
    [
        {"dice_lost": 0.001},
        {"ci95": (-0.001, 0.003)},
        {"cases": 2},
        {"class_lost": {"cytoplasm": 0.0, "nucleus": 0.01}},
        {"instead_of": ("another",)},
        {"provider": "cpu"},
    ],
    ids=["mean", "interval", "few-cases", "a-class", "another-network", "another-library"],
)
def test_what_loses_more_than_the_bounds_is_not_taken(package, capable, changes):
    assert BFLOAT16 not in ways_of(measured(package, **changes).card)


def test_where_objects_count_they_must_stay(package, capable):
    changed = measured(package, objects_changed=0.03).card
    assert BFLOAT16 in ways_of(changed)
    assert BFLOAT16 not in ways_of(changed.model_copy(update={"instances": INSTANCES}))


def test_a_precision_that_cannot_be_is_refused_in_a_sentence(package, capable, monkeypatch):
    with pytest.raises(ConfigError, match="computed by OpenVINO, not by provider cpu"):
        load_backend(package, provider="cpu", precision="bfloat16")
    with pytest.raises(ConfigError, match="no network in int8; it has float32"):
        load_backend(package, precision="int8")
    monkeypatch.setattr(ways, "has_bfloat16", lambda: False)
    with pytest.raises(BackendError, match="does not compute in bfloat16"):
        load_backend(package, precision="bfloat16")


def test_an_openvino_that_does_not_load_leaves_the_others(package, monkeypatch):
    def fails():
        raise ImportError("libtbb.so.12: cannot open shared object file")

    monkeypatch.setattr(ways, "openvino_core", fails)
    ways.has_bfloat16.cache_clear()
    try:
        assert BFLOAT16 not in ways_of(measured(package).card)
    finally:
        ways.has_bfloat16.cache_clear()


@needs_bfloat16
def test_float32_means_float32_and_bfloat16_is_told(package):
    image = Image(np.random.default_rng(1).uniform(0, 255, (1, 40, 40)).astype(np.float32))
    patch = package.golden().patches[:1]
    exact = load_way(package, Way("openvino"))
    coarse = load_backend(package, precision="bfloat16")
    assert verify_golden(package, exact) < 1e-4
    assert np.abs(exact.run(patch) - coarse.run(patch)).max() > 1e-3
    assert way_of(coarse) == BFLOAT16
    assert Predictor(package, coarse, mirror=True).made_by.precision == "bfloat16"
    found = Predictor(package, exact, overlap=0.25).segment(image)
    assert (found.made_by.precision, found.made_by.overlap) == ("float32", 0.25)


@needs_bfloat16
def test_a_machine_that_disagrees_more_than_the_measured_one_keeps_float32(package):
    refused = []
    strict = measured(package, mean_tolerance=1e-9)
    backend = load_backend(strict, on_fallback=refused.append)
    assert way_of(backend).precision == "float32"
    assert "openvino bfloat16: OpenVINO in bfloat16 disagrees" in refused[0]
    verify_golden(strict, backend)


@needs_bfloat16
def test_what_was_remembered_is_asked_again_where_the_record_became_stricter(package, monkeypatch):
    monkeypatch.setattr("seg.inference.backends.fastest.patches_a_second", bfloat16_wins)
    assert way_of(load_backend(measured(package))) == BFLOAT16
    assert way_of(load_backend(measured(package, mean_tolerance=1e-9))).precision == "float32"


def bfloat16_wins(backend: object, *_: object) -> float:
    return 2.0 if way_of(backend) == BFLOAT16 else 1.0


def test_an_overlap_that_cannot_be_is_refused(package):
    with pytest.raises(ConfigError, match="overlap by 0 to below 1"):
        Predictor(package, overlap=1.0)
