"""A file gives an encoder its own weights, or is refused: never another's, and no damaged ones."""

import os

import pytest
import safetensors.torch
import torch

from seg.errors import ConfigError
from seg.networks.foreign.encoders import make
from seg.networks.foreign.weights_file import load_weights

ENCODER = "tu-mobilenetv3_small_050"
FIRST = "conv_stem.weight"


@pytest.fixture(scope="module")
def stored():
    """Weights of an encoder, in the names of its classifier."""
    torch.manual_seed(0)
    return {name[6:]: value for name, value in make(ENCODER, 3).state_dict().items()}


def filled(weights, tmp_path):
    file = tmp_path / "weights.safetensors"
    safetensors.torch.save_file({name: each.clone() for name, each in weights.items()}, file)
    encoder = make(ENCODER, 3)
    load_weights(encoder, file, ENCODER)
    return encoder.state_dict()


def changed(stored, change):
    return {name: change(each) if each.is_floating_point() else each
            for name, each in stored.items()}  # fmt: skip


@pytest.mark.parametrize(
    "wrapper", ["", "module.", "backbone.", "model.encoder.", "_orig_mod.", "state_dict.net_q."]
)
def test_an_encoder_may_be_stored_as_a_part_of_anything(wrapper, stored, tmp_path):
    weights = {wrapper + name: each for name, each in stored.items()}
    weights |= {"fc.weight": torch.ones(2, 2), "bn2.weight": torch.ones(2)}
    torch.testing.assert_close(filled(weights, tmp_path)[f"model.{FIRST}"], stored[FIRST])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_precision_is_read_as_what_it_means(dtype, stored, tmp_path):
    own = filled(changed(stored, lambda each: each.to(dtype)), tmp_path)[f"model.{FIRST}"]
    assert own.dtype == torch.float32
    torch.testing.assert_close(own, stored[FIRST], atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda each: each * torch.nan, "holds values that are not finite", id="nan"),
        pytest.param(
            lambda each: each.double() * 1e300, "holds values that are not finite", id="too large"
        ),
        pytest.param(lambda each: -each.abs() - 1, "holds a variance below 0", id="variance"),
        pytest.param(torch.zeros_like, "holds nothing that was learnt", id="zeros"),
        pytest.param(lambda each: (9 * each).char(), "as torch.int8; .* quantised", id="int8"),
        pytest.param(lambda each: each.to(torch.float8_e4m3fn), "as torch.float8", id="float8"),
        pytest.param(lambda each: each[:1], "does not hold .* has the shape", id="shape"),
    ],
)
def test_numbers_that_are_no_weights_are_refused(change, words, stored, tmp_path):
    with pytest.raises(ConfigError, match=words):
        filled(changed(stored, change), tmp_path)


def test_a_file_of_a_deeper_encoder_is_refused_though_it_holds_all_that_is_needed(stored, tmp_path):
    block = {name: each for name, each in stored.items() if name.startswith("blocks.1.1.")}
    deeper = {name.replace("blocks.1.1.", "blocks.1.2."): each for name, each in block.items()}
    with pytest.raises(ConfigError, match=r"another encoder than tu-.*, which has no blocks\.1\.2"):
        filled(stored | deeper, tmp_path)


def test_two_encoders_in_one_file_are_not_told_apart_by_chance(stored, tmp_path):
    student = {f"student.{name}": each for name, each in stored.items()}
    teacher = {f"teacher.{name}": each for name, each in stored.items()}
    torch.testing.assert_close(filled(student | teacher, tmp_path)[f"model.{FIRST}"], stored[FIRST])
    with pytest.raises(ConfigError, match=r"more than once, .* student\.conv_stem.* teacher\."):
        filled(student | changed(teacher, lambda each: each + 1), tmp_path)


def test_an_encoder_with_a_way_of_its_own_to_load_takes_a_file_as_well(tmp_path):
    own = make("smp:densenet121", 3)
    safetensors.torch.save_file(own.state_dict(), tmp_path / "weights.safetensors")
    load_weights(own, tmp_path / "weights.safetensors", "smp:densenet121")


def test_a_file_that_is_no_safetensors_is_refused(tmp_path):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"pickled?")
    with pytest.raises(ConfigError, match="must be a safetensors file"):
        load_weights(make(ENCODER, 3), file, ENCODER)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "weights.safetensors")
    with pytest.raises(ConfigError, match="is a folder or no file"):
        load_weights(torch.nn.Conv2d(1, 1, 1), tmp_path / "weights.safetensors", ENCODER)
