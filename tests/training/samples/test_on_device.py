"""What a device changes of a patch is what the host would have changed, for the same seeds."""

from dataclasses import replace

import albumentations as A
import numpy as np
import pytest
import torch
from numpy.random import default_rng

from tests.meta_device import META, MadeThere
from training.samples import augmentation as host
from training.samples import images_on_device
from training.samples.augmentation import PRESETS, Augmentation
from training.samples.on_device import finished

PATCHES = [(24, 32), (12, 16, 20), (4, 24, 24)]


def begun(augmentation, patch, seed):
    rng = default_rng(seed)
    region = augmentation.region(rng)
    image = default_rng(seed + 1).normal(size=(3, *region)).astype(np.float32)
    labels = (np.indices(region).sum(0) // 5 % 3).astype(np.uint8)[None]
    return image, labels, augmentation.begin(image, labels, rng)


def host_s_displacements(step, like):
    """Albumentations' own."""
    height, width = like.shape[1:]
    maps = step.get_params_dependent_on_data({"shape": (height, width)}, {})
    still = np.stack(np.meshgrid(np.arange(width), np.arange(height)))
    moved = torch.from_numpy(np.stack([maps["map_x"], maps["map_y"]]) - still)
    return moved.float().to(like.device)


def on(device, sample):
    image, planes = (torch.from_numpy(np.ascontiguousarray(each)) for each in sample[:2])
    return sample._replace(image=image.to(device), planes=planes.to(device))


def same_seed(augmentation, patch, image, labels, seed):
    rng = default_rng(seed)
    augmentation.region(rng)
    return augmentation(image, labels, rng)


@pytest.mark.parametrize("patch", PATCHES)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_patch_is_the_same_wherever_it_is_finished(preset, patch, monkeypatch):
    strength = host.STRENGTHS[preset]
    monkeypatch.setattr(images_on_device, "displacements", host_s_displacements)
    often = {
        name: 0.7 for name in ("turns", "elastic", "brightness", "contrast", "illumination",
        "coarseness", "holes") if getattr(strength, name)
    }  # fmt: skip
    blur = (0.7 * bool(strength.blur[0]), strength.blur[1])
    changed = replace(strength, noise=(0.0, 0.0), blur=blur, **often)
    monkeypatch.setattr(host, "STRENGTHS", {preset: changed})
    augmentation = Augmentation(preset, patch, empty_share=0.1)
    for seed in range(12):
        image, labels, sample = begun(augmentation, patch, seed)
        images, planes = finished([on("cpu", sample)], augmentation)
        expected, moved = same_seed(augmentation, patch, image, labels, seed)
        assert images.dtype == torch.float32
        assert planes.dtype == torch.uint8
        # a voxel just between two is read from either
        off = np.abs(images[0].numpy() - expected) > 1e-3
        assert off.mean() < 0.002
        assert (planes[0].numpy() != moved).mean() < 0.01


def test_noise_has_the_deviation_that_the_host_draws(monkeypatch):
    only = host.Strength(noise=(1.0, 0.4))
    monkeypatch.setattr(host, "STRENGTHS", {"noisy": only})
    augmentation = Augmentation("noisy", (64, 64))
    for seed in range(10):
        image, labels, sample = begun(augmentation, (64, 64), seed)
        images, _ = finished([on("cpu", sample)], augmentation)
        expected, _ = same_seed(augmentation, (64, 64), image, labels, seed)
        ours, theirs = images[0].numpy() - sample.image, expected - sample.image
        assert ours.std() == pytest.approx(theirs.std(), rel=0.05)
        assert abs(ours.mean()) < 0.03


@pytest.mark.parametrize("shape", [(40, 56), (64, 64)])
def test_images_are_bent_as_far_and_as_smoothly_as_on_the_host(shape):
    step = A.ElasticTransform(alpha=max(shape), sigma=max(shape) / 12)
    like = torch.zeros(1, *shape)
    torch.manual_seed(0)
    found = {}
    for way in (images_on_device.displacements, host_s_displacements):
        step.set_random_seed(0)
        fields = np.stack([way(step, like).numpy() for _ in range(200)])
        steps = np.diff(fields, axis=-1).std(), np.diff(fields, axis=-2).std()
        found[way] = np.array([fields.std(), np.abs(fields).max(), *steps])
    ours, theirs = found.values()
    np.testing.assert_allclose(ours[[0, 2, 3]], theirs[[0, 2, 3]], rtol=0.05)
    assert ours[1] == pytest.approx(theirs[1], rel=0.3)


@pytest.mark.parametrize("patch", PATCHES)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_device_is_never_waited_for(preset, patch):
    augmentation = Augmentation(preset, patch)
    samples = [on(META, begun(augmentation, patch, seed)[2]) for seed in range(20)]
    with MadeThere() as made:
        images, planes = finished(samples, augmentation)
    assert made.noted == []
    assert images.device == planes.device == META
    assert images.shape == (20, 3, *patch)
    assert planes.shape == (20, 1, *patch)
