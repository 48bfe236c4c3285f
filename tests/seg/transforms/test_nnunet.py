"""The convention of nnU-Net; tests/training/adopt holds it against nnU-Net itself."""

import numpy as np
import pytest
from numpy.random import default_rng

from seg.images import Image
from seg.inference import Predictor
from seg.model_package import ModelPackage
from seg.transforms import Normalisation, Preprocessing, prepare
from seg.transforms.nnunet import resample_as_nnunet, separate_axis
from tests.seg.inference.tiling.test_streaming import Pointwise, with_input


def nnunet(**fields):
    return Preprocessing(convention="nnunet", **fields)


def framed(shape, inside):
    array = np.zeros((1, *shape), np.float32)
    array[(0, *inside)] = default_rng(0).uniform(1, 9, array[(0, *inside)].shape)
    return array


def test_zeros_around_an_image_are_cut_off():
    inside = (slice(2, 9), slice(0, 5))
    prepared = prepare(Image(framed((12, 8), inside)), nnunet(normalisation=(Normalisation(),)))
    assert prepared.box == inside
    assert prepared.array.mean() == pytest.approx(0, abs=1e-6)


def test_only_what_is_not_zero_is_normalised():
    array = framed((12, 8), (slice(2, 9), slice(0, 5)))
    array[0, 8, 0:3] = 0
    rule = Normalisation(nonzero=True)
    found = prepare(Image(array), nnunet(normalisation=(rule,))).array[0]
    assert (found[6, 0:3] == 0).all()
    rest = np.delete(found.ravel(), [30, 31, 32])
    assert (rest.mean(), rest.std()) == (pytest.approx(0, abs=1e-6), pytest.approx(1, rel=1e-6))


def test_an_image_of_zeros_is_taken_whole():
    prepared = prepare(Image(np.zeros((1, 6, 7))), nnunet(normalisation=(Normalisation(),)))
    assert prepared.shape == (1, 6, 7)


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
def test_an_interpolation_stays_within_the_intensities(axis):
    array = default_rng(1).integers(0, 2, (1, 6, 7, 8)).astype(np.float32)
    found = resample_as_nnunet(array, (9, 12, 5), axis)
    assert found.shape == (1, 9, 12, 5)
    assert (found.min(), found.max()) == (0, 1)


@pytest.mark.parametrize(
    ("spacing", "target", "axis"),
    [
        ((5.0, 1.0, 1.0), (2.0, 1.0, 1.0), 0),
        ((1.0, 1.0, 4.0), (1.0, 1.0, 1.0), 2),
        ((1.0, 1.0, 1.0), (1.0, 4.0, 1.0), 1),
        ((3.0, 1.0, 1.0), (1.0, 1.0, 1.0), None),
        ((0.2, 1.0, 1.0), (1.0, 1.0, 1.0), None),
        (None, (1.0, 1.0, 1.0), None),
    ],
)
def test_thick_slices_are_told_by_both_spacings(spacing, target, axis):
    assert separate_axis(spacing, target) == axis


def test_what_was_cut_off_is_background(tiny_package):
    spec = nnunet(normalisation=(Normalisation(kind="rescale", low=0, high=1),))
    package = with_input(ModelPackage.load(tiny_package), preprocessing=spec)
    array = framed((40, 30), (slice(5, 33), slice(4, 28)))
    mask = Predictor(package, Pointwise((16, 16))).predict(Image(array)).array
    assert mask.shape == (40, 30)
    assert ((mask > 0) == (array[0] > 0)).all()
