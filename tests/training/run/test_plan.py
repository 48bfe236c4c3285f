import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seg.errors import ConfigError
from seg.model_package import Channel, Empty
from seg.networks import ResidualUNet
from training.dataset.fingerprint import ChannelStatistics, Fingerprint
from training.planning.rules import SEARCHES, make_plan
from training.run.plan import changed_plan
from training.run.plan_yaml import read_plan, write_plan

STATISTICS = ChannelStatistics(
    mean=40, std=20, percentile_00_5=-100, percentile_99_5=200, range=(-1000, 1000)
)


def fingerprint(shape, spacing=None, cases=3):
    return Fingerprint(
        cases=cases,
        shapes=(tuple(shape),) * cases,
        spacings=None if spacing is None else (tuple(spacing),) * cases,
        channels=(STATISTICS,),
        class_shares=(0.9, 0.1),
    )


def planned(shape, spacing=None, modality="MR", device="cpu", **chosen):
    return make_plan(
        fingerprint(shape, spacing),
        (Channel(name="image", modality=modality),),
        device,
        dataset="test",
        data="test",
        **({"minutes": 1} | chosen),
    )


@given(
    shape=st.lists(st.integers(8, 700), min_size=2, max_size=3),
    spacing=st.lists(st.floats(0.2, 6), min_size=3, max_size=3),
    device=st.sampled_from(["cpu", "cuda"]),
)
@settings(deadline=None)
def test_a_patch_fits_the_budget_and_the_network_s_strides(shape, spacing, device):
    plan = planned(shape, spacing[: len(shape)], device=device)
    total = plan.network_config(2).total_stride
    assert all(n % t == 0 for n, t in zip(plan.patch, total, strict=True))
    # rounding up to the strides may add at most one stride an axis
    cut = math.prod(max(1, n - t) for n, t in zip(plan.patch, total, strict=True))
    assert cut <= SEARCHES[device].usual_voxels[len(shape)]


def test_a_patch_is_not_larger_than_the_images_need():
    assert planned((40, 60)).patch == (40, 64)


def test_thin_slices_are_neither_halved_nor_convolved_across_while_they_are_far_apart():
    plan = planned((20, 300, 300), (6.0, 1.0, 1.0))
    assert plan.strides[1] == (1, 2, 2)
    assert plan.kernel_sizes[0] == (1, 3, 3)
    assert plan.kernel_sizes[-1] == (3, 3, 3)


def test_few_thick_slices_do_not_take_the_coarse_stages_their_view_along_the_slices():
    plan = planned((5, 443, 512), (1.0, 0.2, 0.2))
    assert plan.kernel_sizes == ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))


def test_ct_is_normalised_by_the_dataset_s_numbers():
    rule = planned((64, 64), modality="CT").normalisation[0]
    assert (rule.kind, rule.low, rule.high, rule.mean, rule.std) == (
        "clip_zscore", -100, 200, 40, 20,
    )  # fmt: skip


def test_other_modalities_are_normalised_image_by_image():
    assert planned((64, 64), modality="MR").normalisation[0].kind == "zscore"


def test_images_without_spacing_are_not_resampled():
    assert planned((64, 64)).spacing is None


def test_a_coarse_axis_takes_the_finer_end_of_its_spacings():
    mixed = Fingerprint(
        cases=10,
        shapes=((20, 100, 100),) * 10,
        spacings=((3.0, 1.0, 1.0),) * 3 + ((8.0, 1.0, 1.0),) * 7,
        channels=(STATISTICS,),
        class_shares=(0.9, 0.1),
    )
    plan = make_plan(mixed, (Channel(name="a"),), "cpu", minutes=1, dataset="t", data="t")
    assert plan.spacing == (3.0, 1.0, 1.0)


def test_a_chosen_value_takes_the_place_of_the_planned_one():
    plan = planned((200, 200), patch=(64, 64), shortcut="gated", batch_size=7)
    assert (plan.patch, plan.shortcut, plan.batch_size) == ((64, 64), "gated", 7)
    assert plan.network_config(2).shortcut == "gated"


def test_attention_is_the_presets_unless_a_number_is_chosen():
    def blocks(**chosen):
        return planned((200, 200), patch=(64, 64), **chosen).network_config(2).attention_blocks

    assert (blocks(network="resunet-s"), blocks(network="resunet-s", attention=3)) == (0, 3)
    preset = "resunet-s-attention"
    assert (blocks(network=preset), blocks(network=preset, attention=0)) == (2, 0)


def test_a_planned_network_can_be_built():
    config = planned((9, 70, 80), (5.0, 1.0, 1.0)).network_config(3)
    assert ResidualUNet(config).config.num_classes == 3


def test_a_plan_reads_back_as_it_was_written(tmp_path):
    empty = Empty(side="below", limits=(-900,))
    plan = planned((9, 70, 80), (5.0, 1.0, 1.0), modality="CT", empty=empty)
    write_plan(plan, tmp_path / "plan.yaml")
    assert read_plan(tmp_path / "plan.yaml") == plan


def test_every_field_of_a_written_plan_has_a_comment(tmp_path):
    plan = planned((64, 64))
    write_plan(plan, tmp_path / "plan.yaml")
    fields = [
        line
        for line in (tmp_path / "plan.yaml").read_text().splitlines()
        if line and line[0] not in "# "
    ]
    assert len(fields) == len(type(plan).model_fields)
    assert all("  # " in line for line in fields)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("batch_size: [", "is not YAML", id="no yaml"),
        pytest.param("- 1", "must hold one field a line", id="a list"),
        pytest.param("batch_size: 0", "cannot be used", id="a missing field"),
    ],
)
def test_a_plan_that_cannot_be_read_is_one_sentence(tmp_path, text, sentence):
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        read_plan(tmp_path / "plan.yaml")


def test_a_value_that_cannot_be_is_named():
    with pytest.raises(ConfigError, match="batch_size: Input should be greater than or equal to 1"):
        changed_plan(planned((64, 64)), {"batch_size": 0})


def test_images_too_small_for_a_u_net_are_refused():
    with pytest.raises(ConfigError, match="too small for a U-Net; they need 8"):
        planned((6, 7))


@pytest.mark.parametrize(
    ("shape", "margin"),
    [
        pytest.param((700, 1100), (24, 24), id="a large image: an eighth of the patch"),
        pytest.param((210, 368), (8, 15), id="a small image: a 24th of itself"),
        pytest.param((5, 480, 480), (0, 20, 20), id="few slices: none across them"),
    ],
)
def test_a_margin_is_a_small_part_of_patch_and_image(shape, margin):
    assert planned(shape).margin == margin


SIDED = ("liver", "kidney_left", "kidney_right")


@pytest.mark.parametrize(
    ("fields", "axes"),
    [
        ({}, (0, 1)),
        ({"orientation": "RAS"}, (0, 1)),
        ({"orientation": "SPL"}, (1, 2)),
        ({"left_right_axis": 1}, (0, 2)),
        ({"left_right_axis": 1, "orientation": "RAS"}, (0, 1)),
        ({"mirror_axes": (0, 2)}, (0, 2)),
        ({"mirror_axes": ()}, ()),
    ],
)
def test_patches_are_not_mirrored_between_left_and_right(fields, axes):
    plan = planned((64, 64, 64), (1.0, 1.0, 1.0)).model_copy(update=fields)
    assert plan.mirrored_axes(SIDED) == axes
    if "mirror_axes" not in fields:
        assert plan.mirrored_axes(("liver", "spleen")) == (0, 1, 2)


@pytest.mark.parametrize(
    "fields", [{"mirror_axes": (3,)}, {"orientation": "RAX"}, {"left_right_axis": 5}]
)
def test_axes_that_are_none_are_refused(fields):
    with pytest.raises(ConfigError, match=next(iter(fields))):
        planned((64, 64, 64), (1.0, 1.0, 1.0), **fields)
