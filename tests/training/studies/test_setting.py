import pytest
from hypothesis import given
from hypothesis import strategies as st

from seg.errors import ConfigError
from training.studies.arms import by_shortcut
from training.studies.setting import Setting, blocks_a_stage, patch_edges

SETTING = Setting(data=".", shortcuts=("identity",), layers=(9,), steps=2, edge=32, features=4)


@given(st.integers(1, 50))
def test_layers_and_blocks_say_the_same(blocks):
    assert blocks_a_stage(1 + 4 * blocks) == blocks


@pytest.mark.parametrize(("layers", "nearest"), [(20, 21), (1, 5), (44, 45)])
def test_a_depth_that_cannot_be_is_told_with_the_nearest(layers, nearest):
    with pytest.raises(ConfigError, match=rf"nearest is {nearest}"):
        blocks_a_stage(layers)


@given(st.integers(16, 128), st.lists(st.integers(1, 300), min_size=2, max_size=3))
def test_a_patch_fits_the_image_and_can_be_halved_twice(edge, image):
    for n, patch in zip(image, patch_edges(edge, tuple(image)), strict=True):
        assert 0 < patch <= min(n, edge)
        assert patch % 4 == 0 or patch == n < edge // 4


@pytest.mark.parametrize("patch", [(32, 32), (5, 32, 32)])
def test_no_skip_of_the_u_net_leads_around_all_blocks(patch):
    network = by_shortcut("identity").network(SETTING, patch, (1, 3), 9)
    assert network.config.starts_strided
    assert [len(stage.blocks) for stage in network.encoder.stages] == [2, 2]
