import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seg.images import Image
from seg.model_package import Channel, Empty
from training.dataset.findings.emptiness import EndsMeter, known_empty

MR, CT = (Channel(name="image", modality=name) for name in ("MR", "CT"))


def scan(air, tissue, organ, noise=0.0, seed=0):
    """A disc of uneven tissue with an organ in it, around it air; and where the organ is."""
    y, x = np.mgrid[-20:20, -20:20]
    radius = np.hypot(y, x)
    array = np.select([radius < 5, radius < 12], [float(organ), tissue + radius / 10], float(air))
    array += noise * np.random.default_rng(seed).normal(size=array.shape)
    return Image(array[None].astype(np.float32)), radius < 5


def rule_of(cases, channels=(MR,)):
    meter = EndsMeter()
    for image, foreground in cases:
        meter.take(image, foreground)
    return known_empty(channels, meter.result())


def test_the_zeros_around_a_brain_are_empty():
    assert rule_of([scan(0, 50, 90), scan(0, 500, 900)]) == Empty(side="below", limits=(0.0,))


def test_the_white_around_a_tissue_is_empty():
    assert rule_of([scan(255, 90, 60), scan(255, 80, 50)]) == Empty(side="above", limits=(255.0,))


def test_noisy_air_is_empty_where_intensities_have_a_scale_of_their_own():
    cases = [scan(-1000, -500, 40, noise=10, seed=seed) for seed in range(2)]
    assert rule_of(cases, (CT,)) == Empty(side="below", limits=(-900.0,))
    assert rule_of(cases) is None


@pytest.mark.parametrize(
    ("cases", "channel"),
    [
        pytest.param([scan(0, 50, 90), scan(7, 50, 90)], MR, id="background differs by case"),
        pytest.param([scan(0, 50, 0)], MR, id="a class as dark as the background"),
        pytest.param([scan(-1000, -990, -1000)], CT, id="a class as light as air"),
        pytest.param([(scan(0, 50, 90)[0], np.ones((40, 40), bool))], MR, id="all is a class"),
        pytest.param([(scan(0, 50, 90)[0], np.zeros((40, 40), bool))], MR, id="nothing is a class"),
        pytest.param([scan(50, 50, 50)], MR, id="an image of one intensity"),
    ],
)
def test_nothing_is_empty_where_a_class_might_be(cases, channel):
    assert rule_of(cases, (channel,)) is None


@settings(deadline=None)
@given(
    arrays(np.int16, (2, 6, 7), elements=st.integers(-1024, 3)),
    arrays(bool, (6, 7)),
    st.sampled_from([MR, CT]),
)
def test_no_voxel_of_a_class_is_ever_empty(array, foreground, channel):
    rule = rule_of([(Image(array), foreground)], (channel, channel))
    if rule is None:
        return
    limits = np.array(rule.limits)[:, None, None]
    beyond = array <= limits if rule.side == "below" else array >= limits
    assert not beyond.all(axis=0)[foreground].any()
