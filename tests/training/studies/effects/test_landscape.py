import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.phantom import CLASSES
from training.dataset.legend import Legend
from training.learning.losses import make_loss
from training.studies.effects.landscape import (
    POINTS,
    REACH,
    RISE,
    basin_width,
    bent_share,
    filter_normalised,
    loss_surface,
    sharpness,
)
from training.studies.learning import loss_on

A, B = np.meshgrid(*[np.linspace(-REACH, REACH, POINTS)] * 2, indexing="ij")
LOSS = make_loss(Legend(CLASSES[:2]))


@given(st.floats(0.4, 0.9))
def test_the_width_of_a_round_bowl_is_its_diameter(radius):
    bowl = RISE * (A**2 + B**2) / radius**2
    assert basin_width(bowl) == pytest.approx(2 * radius, abs=0.15)


def test_a_second_basin_does_not_count():
    surface = np.ones((POINTS, POINTS))
    surface[POINTS // 2, POINTS // 2] = surface[0] = 0
    assert basin_width(surface) < 0.2


def test_a_bowl_bends_upwards_and_a_saddle_does_not():
    assert bent_share(A**2 + B**2) == 0
    assert bent_share(A**2 - B**2) == 1


def test_sharpness_is_what_the_loss_rises_nearby():
    bowl = A**2 + B**2
    assert sharpness(3 * bowl + 5) == pytest.approx(3 * sharpness(bowl))
    assert 0 < sharpness(bowl) < 0.25**2
    assert sharpness(np.where(bowl > 0.3**2, 9.0, 0.0)) == 0


def test_a_direction_is_as_long_as_the_filters_it_moves():
    weights = [torch.randn(3, 2, 3, 3), torch.randn(3)]
    filters, bias = filter_normalised(weights, torch.Generator().manual_seed(0))
    torch.testing.assert_close(filters.flatten(1).norm(dim=1), weights[0].flatten(1).norm(dim=1))
    assert not bias.any()


def test_the_middle_of_the_surface_is_the_network_itself():
    network = torch.nn.Conv2d(1, 2, 3, padding=1)
    before = [p.clone() for p in network.parameters()]
    batch = (torch.randn(2, 1, 8, 8), torch.randint(2, (2, 1, 8, 8)))
    surface = loss_surface(network, batch, LOSS, seed=0)
    assert surface[POINTS // 2, POINTS // 2] == pytest.approx(loss_on(network, batch, LOSS))
    assert surface.std() > 0
    assert all(torch.equal(p, q) for p, q in zip(before, network.parameters(), strict=True))
