"""Weight gradients that a library computes beside its buffers are computed in another way."""

import copy
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from training.run.safe_gradients import safe_gradients

WITH_AMX = "_is_amx_tile_supported"


@pytest.fixture
def amx(monkeypatch):
    """As on a processor with these instructions."""
    monkeypatch.setattr(torch.cpu, WITH_AMX, lambda: True)


class Weighed(TorchDispatchMode):
    """Notes the convolutions whose weights get a gradient from the library."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.convolution_backward.default and args[-1][1]:
            _, images, weight, _, stride, *_ = args
            self.seen.append(
                SimpleNamespace(
                    dims=images.dim() - 2, kernel=tuple(weight.shape[2:]), stride=tuple(stride)
                )
            )
        return func(*args, **(kwargs or {}))


def gradients(module, images, half):
    """Of images, weights and bias, and the convolutions that gave those of the weights."""
    module, images = copy.deepcopy(module), images.clone().requires_grad_()
    with safe_gradients("cpu"), Weighed() as weighed:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            out = module(images)
        out.backward(torch.linspace(-1, 1, out.numel()).reshape(out.shape).to(out.dtype))
    return [out, images.grad, *(each.grad for each in module.parameters())], weighed.seen


def exact(module, images):
    module, images = copy.deepcopy(module).double(), images.double().requires_grad_()
    out = module(images)
    out.backward(torch.linspace(-1, 1, out.numel()).reshape(out.shape).to(out.dtype))
    return [out, images.grad, *(each.grad for each in module.parameters())]


def off(found, wanted):
    return max(
        float((one.detach().double() - other.detach()).norm() / other.detach().norm())
        for one, other in zip(found, wanted, strict=True)
    )


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv3d(4, 6, 3, 1, 1),
        nn.Conv3d(4, 6, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False),
        nn.Conv3d(4, 6, 3, 2, 1),
        nn.Conv3d(4, 6, 3, 1, 2, dilation=2),
        nn.Conv3d(4, 6, (5, 3, 1), (3, 1, 2), (4, 0, 0), groups=2),
        nn.Conv3d(4, 6, 2, padding="same"),
        nn.Conv3d(4, 6, 3, padding="valid"),
        nn.Conv3d(4, 6, 1, (1, 2, 2)),
        nn.Conv3d(4, 6, 3, 1, 1, padding_mode="reflect"),
        nn.ConvTranspose3d(4, 6, (1, 2, 2), (1, 2, 2)),
        nn.ConvTranspose3d(4, 6, 3, 2, 1, output_padding=1),
    ],
    ids=str,
)
def test_a_volume_s_gradients_in_bfloat16_are_those_of_its_slices(amx, module):
    images = torch.randn(2, 4, 5, 9, 10, generator=torch.Generator().manual_seed(0))
    wanted = exact(module, images)
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        found, weighed = gradients(module, images.contiguous(memory_format=layout), half=True)
        assert off(found, wanted) < 0.01
        assert found[0].dtype == torch.bfloat16
        assert {each.dims for each in weighed} == {2}


def test_a_single_volume_without_a_batch_has_them_too(amx):
    module, images = nn.Conv3d(2, 3, 3, 1, 1), torch.randn(2, 4, 6, 6)
    found, weighed = gradients(module, images, half=True)
    assert off(found, exact(module, images)) < 0.01
    assert {each.dims for each in weighed} == {2}


@pytest.mark.parametrize(("half", "has_amx"), [(False, True), (True, False)])
def test_elsewhere_volumes_are_the_library_s(monkeypatch, half, has_amx):
    monkeypatch.setattr(torch.cpu, WITH_AMX, lambda: has_amx)
    module, images = nn.Conv3d(2, 3, 3, 1, 1), torch.randn(1, 2, 4, 6, 6)
    found, weighed = gradients(module, images, half=half)
    assert off(found, exact(module, images)) < 0.01
    assert {each.dims for each in weighed} == {3}


@pytest.mark.parametrize("stride", [2, (2, 2), (1, 3), [3, 1]])
@pytest.mark.parametrize("groups", [1, 2])
def test_what_a_stride_leaves_is_taken_before_a_kernel_of_one_pixel(stride, groups):
    module = nn.Conv2d(4, 6, 1, stride, groups=groups)
    images = torch.randn(2, 4, 9, 11).contiguous(memory_format=torch.channels_last)
    found, weighed = gradients(module, images, half=False)
    assert off(found, exact(module, images)) < 1e-5
    assert [each.stride for each in weighed] == [(1, 1)]


@pytest.mark.parametrize(
    "module", [nn.Conv2d(16, 4, 1, 2), nn.Conv2d(4, 4, 3, 2), nn.Conv2d(4, 4, 1, 2, padding=1)]
)
def test_other_strides_are_the_library_s(module):
    images = torch.randn(1, module.in_channels, 8, 8)
    found, weighed = gradients(module, images, half=False)
    assert off(found, exact(module, images)) < 1e-5
    assert [each.stride for each in weighed] == [(2, 2)]


def test_a_thin_volume_is_trained_on_in_bfloat16_and_the_process_lives():
    """Where the processor has AMX it ended within some steps."""
    steps = """
import torch
from training.run.safe_gradients import safe_gradients
torch.set_num_threads(1)
layer = torch.nn.Conv3d(16, 16, 3, padding=1)
images = torch.randn(2, 16, 5, 96, 96, requires_grad=True)
with safe_gradients("cpu"):
    for _ in range(4):
        with torch.autocast("cpu", torch.bfloat16):
            out = layer(images)
        out.float().square().mean().backward()
print("lives")
"""
    ran = subprocess.run(
        [sys.executable, "-c", steps], check=False, capture_output=True, text=True, timeout=120
    )
    assert (ran.returncode, ran.stdout) == (0, "lives\n"), ran.stderr
