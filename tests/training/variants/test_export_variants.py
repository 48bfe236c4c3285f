"""One run to a package of several variants."""

import re

import numpy as np
import pytest
import torch

from seg.errors import BackendError
from seg.inference import OnnxBackend, load_backend, verify_golden
from seg.inference.backends.golden import agreement
from seg.model_package import GoldenSamples, ModelPackage, Tolerance
from training.dataset import load_dataset
from training.learning.checkpoint import trained_in
from training.run.plan_yaml import read_plan


def test_every_variant_agrees_with_its_golden_samples(exported):
    package = ModelPackage.load(exported)
    assert package.card.variants[0].name == "full"
    for variant in package.card.variants:
        assert package.has_golden(variant.name)
        backend = load_backend(package, variant.name, "cpu")
        assert verify_golden(package, backend, variant.name) <= variant.tolerance


def test_a_variant_is_not_taken_for_another_one(exported):
    package = ModelPackage.load(exported)
    first, *others = package.card.variants
    other = next(each for each in others if each.blocks_dropped)
    with pytest.raises(BackendError, match="disagrees"):
        verify_golden(package, load_backend(package, other.name, "cpu"), first.name)


def test_voxels_that_differ_a_little_everywhere_are_another_network(exported):
    package = ModelPackage.load(exported)
    rounded = next(each for each in package.card.variants if each.precision == "int8")
    golden = package.golden(rounded.name)
    backend = load_backend(package, rounded.name, "cpu")
    tolerance = package.card.tolerance(rounded.name)
    assert tolerance.mean < tolerance.worst / 4
    agreement(backend, golden, package.card.task, tolerance)
    aside = np.ones_like(golden.logits)
    aside[:, 0] = -1
    moved = GoldenSamples(golden.patches, golden.logits + 4 * tolerance.worst * aside)
    with pytest.raises(BackendError, match="differ on average by"):
        agreement(backend, moved, package.card.task, Tolerance(1.0, tolerance.mean))


def test_a_shallower_variant_is_the_network_without_those_blocks(run, exported):
    package = ModelPackage.load(exported)
    legend = load_dataset(run.path / "data").legend
    network = trained_in(run, read_plan(run.plan), legend).network
    for variant in package.card.variants:
        if variant.precision != "float32":
            continue
        patches = package.golden().patches
        with torch.inference_mode():
            expected = network.without(variant.blocks_dropped)(torch.from_numpy(patches)).numpy()
        found = OnnxBackend(package.model_file(variant.name), provider="cpu").run(patches)
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_every_variant_says_what_it_is_worth(exported):
    for variant in ModelPackage.load(exported).card.variants:
        assert set(variant.dice) >= {"cytoplasm", "nucleus"}
        assert variant.milliseconds_per_patch > 0
        assert "core" in variant.measured_on
        assert variant.megabytes > 0


def test_no_variant_is_beaten_by_another_one_in_both(exported):
    card = ModelPackage.load(exported).card
    points = [(card.mean_dice(v.name), v.milliseconds_per_patch) for v in card.variants[1:]]
    for dice, milliseconds in points:
        assert not any(d > dice and m < milliseconds for d, m in points)


def test_the_report_shows_what_was_left_out_as_well(exported):
    page = (exported / "report.html").read_text()
    names = re.findall(r"<tr><td>([a-z0-9-]+)</td><td>", page.split("</table>")[0])
    assert names[:2] == ["full", "int8"]
    assert [name.startswith("drop-") for name in names[2:]] == [True, True]


def test_the_report_shows_what_blocks_are_worth_in_the_other_run_as_well(exported):
    page = (exported / "report.html").read_text()
    assert re.findall(r"<th>(\w+ run) without</th>", page) == ["this run", "other run"]
