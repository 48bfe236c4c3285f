from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from numpy.random import default_rng

from seg.images import Image, Mask
from seg.model_package import Channel
from training.dataset import IGNORE, Legend
from training.dataset.classes import make_classes
from training.dataset.fingerprint import take_fingerprint
from training.planning.rules import make_plan
from training.samples.augmentation import STRENGTHS, Augmentation
from training.samples.on_device import finished
from training.samples.patch_batches import PatchBatches
from training.samples.prepared_cases import open_case, prepare_case

LEGEND = Legend(make_classes(["background", "a", "b"], {}))


def case(shape, rare=False):
    rng = default_rng(0)
    labels = np.zeros(shape, np.uint8)
    labels[tuple(slice(n // 2 - 3, n // 2) for n in shape)] = 2
    if not rare:
        labels[tuple(slice(n // 2, None) for n in shape)] = 1
    return Image(rng.normal(size=(1, *shape)).astype(np.float32)), Mask(labels)


def batches(folder, pair, first_batch=0, **chosen):
    fingerprint = take_fingerprint([pair], LEGEND, default_rng(0))
    plan = make_plan(
        fingerprint, (Channel(name="a"),), "cpu", minutes=1, dataset="t", data="t", **chosen
    )
    if not folder.exists():
        prepare_case(*pair, plan, folder)
    prepared = open_case(folder)
    return PatchBatches([prepared], plan, Augmentation("medical", plan.patch), first_batch)


def take(source, count):
    return [(images.clone(), labels.clone()) for images, labels in islice(source, count)]


def same(ours, theirs):
    return all(
        torch.equal(a, b)
        for x, y in zip(ours, theirs, strict=True)
        for a, b in zip(x, y, strict=True)
    )


def test_a_batch_has_the_plan_s_patch_and_batch_size(tmp_path):
    images, labels = next(iter(batches(tmp_path / "c", case((50, 60)), patch=(32, 32))))
    assert images.shape == (4, 1, 32, 32)
    assert labels.shape == (4, 1, 32, 32)
    assert labels.dtype == torch.uint8


def test_a_run_that_is_resumed_sees_the_same_batches(tmp_path):
    whole = take(batches(tmp_path / "c", case((50, 60)), patch=(32, 32)), 5)
    rest = take(batches(tmp_path / "c", case((50, 60)), first_batch=3, patch=(32, 32)), 2)
    assert same(whole[3:], rest)
    assert not same(whole[:2], rest)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_no_batch(tmp_path, workers):
    source = batches(tmp_path / "c", case((50, 60)), patch=(32, 32))
    loader = torch.utils.data.DataLoader(source, batch_size=None, num_workers=workers)
    assert same(take(loader, 4), take(source, 4))


def test_forced_patches_show_a_rare_class(tmp_path):
    source = batches(
        tmp_path / "c", case((200, 200), rare=True), patch=(32, 32), foreground_share=0.5,
    )  # fmt: skip
    shown = [(labels == 2).flatten(1).any(dim=1) for _, labels in take(source, 10)]
    assert torch.stack(shown)[:, 2:].float().mean() > 0.9


def test_patches_lie_where_somebody_annotated(tmp_path):
    image, _ = case((200, 200))
    labels = np.full((200, 200), IGNORE, np.uint8)
    labels[90:100, 20:60] = 0
    labels[95, 30] = 1
    source = batches(tmp_path / "c", (image, Mask(labels)), patch=(32, 32))
    seen = [(labels != IGNORE).flatten(1).sum(dim=1) for _, labels in take(source, 10)]
    assert torch.stack(seen).min() > 100


def test_images_smaller_than_a_patch_are_filled_up(tmp_path):
    images, labels = next(iter(batches(tmp_path / "c", case((9, 40)), patch=(32, 32))))
    assert images.shape[2:] == labels.shape[2:] == (32, 32)


def test_volumes_give_volumes(tmp_path):
    images, _ = next(iter(batches(tmp_path / "c", case((9, 20, 24)), patch=(8, 16, 16))))
    assert images.shape == (2, 1, 8, 16, 16)


@pytest.mark.parametrize("shape", [(50, 60), (20, 24, 28)])
def test_a_batch_that_a_device_finishes_is_the_one_of_the_host(tmp_path, shape, monkeypatch):
    quiet = replace(STRENGTHS["medical"], noise=(0.0, 0.0))
    monkeypatch.setitem(STRENGTHS, "medical", quiet)
    patch = tuple(n // 2 for n in shape)
    ours = batches(tmp_path / "c", case(shape), patch=patch, augment_on="device")
    theirs = batches(tmp_path / "c", case(shape), patch=patch)
    loader = torch.utils.data.DataLoader(ours, batch_size=None, num_workers=1)
    for begun, (images, labels) in zip(islice(loader, 3), islice(theirs, 3), strict=True):
        found, marked = finished(begun, ours.augmentation)
        assert (found - images).abs().gt(1e-3).float().mean() < 0.002
        assert (marked != labels).float().mean() < 0.01
    largest = max(sum(t.nbytes for t in (s.image, s.planes)) for s in begun)
    assert largest * len(begun) <= ours.bytes
