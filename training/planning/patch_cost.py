"""Whether the host makes patches as fast as a card wants them, and what to do where it does not."""

import logging
import math
import time

import numpy as np
import torch

from training.run.device import Device, using_threads, workers_of
from training.run.names import AugmentationPlace
from training.run.plan import Plan
from training.samples.augmentation import Augmentation
from training.samples.on_device import finished
from training.samples.patch_batches import in_torch

log = logging.getLogger("training")

AMPLE = 1.25
"""Times the patches that a card wants, which the host should make: cases are read meanwhile."""
SECONDS, LEAST, MOST = 2.0, 10, 100
"""How long patches are made for measuring, and how many at least and at most."""
ORDERS = 100
SMALLEST = {2: (32, 32), 3: (8, 8, 8)}
"""Edges of patches that cost nothing to change."""


def seconds_a_patch(plan: Plan) -> float:
    """That one process takes on the mean to change a patch of noise as the plan says."""
    augmentation = Augmentation(plan.augmentation, plan.patch, mirror_axes=plan.mirror_axes)
    rng = np.random.default_rng(plan.seed)
    times: list[float] = []
    with using_threads(1):
        while len(times) < LEAST or (sum(times) < SECONDS and len(times) < MOST):
            region = augmentation.region(rng)
            image = rng.normal(size=(len(plan.normalisation), *region)).astype(np.float32)
            labels = (image[0] > 0).astype(np.uint8)
            begun = time.perf_counter()
            augmentation(image, labels, rng)
            times.append(time.perf_counter() - begun)
    return math.fsum(times) / len(times)


def seconds_to_order(plan: Plan) -> float:
    """That the process which trains takes to tell a card what to change in a patch.

    Measured on patches so small that nothing but the telling takes time.
    """
    patch = SMALLEST[len(plan.patch)]
    augmentation = Augmentation(plan.augmentation, patch, mirror_axes=plan.mirror_axes)
    rng = np.random.default_rng(plan.seed)
    samples = []
    for _ in range(ORDERS):
        region = augmentation.region(rng)
        image = rng.normal(size=(len(plan.normalisation), *region)).astype(np.float32)
        begun = augmentation.begin(image, np.zeros((1, *region), np.uint8), rng)
        samples.append(in_torch(begun))
    with using_threads(1), torch.no_grad():
        finished(samples[:LEAST], augmentation)
        start = time.perf_counter()
        finished(samples, augmentation)
    return (time.perf_counter() - start) / len(samples)


def place_to_augment(plan: Plan, step_seconds: float, device: Device) -> AugmentationPlace:
    """The host where it keeps up with a card, the card where it does not and makes more of them.

    A card is told what to change by the process that trains, patch by patch: as if steps waited
    for all of that, which they do where they are short.

    Args:
        plan: with its augmentation decided.
        step_seconds: of one step of the network, which takes its patches from memory.
        device: that trains.
    """
    if device.kind == "cpu" or not Augmentation(plan.augmentation, plan.patch).leaves_something:
        return "host"
    workers = workers_of(device)
    wanted = plan.batch_size * plan.accumulate / device.world.size / step_seconds
    made = workers / seconds_a_patch(plan)
    place: AugmentationPlace = "host"
    there = math.nan
    if made < AMPLE * wanted:
        there = 1 / (1 / wanted + seconds_to_order(plan))
        place = "device" if there > made else "host"
    log.info(
        "patches   %d processes change %.3g a second, the network takes %.3g%s: %s",
        workers, made, wanted,
        "" if math.isnan(there) else f", {there:.3g} where it changes them",
        "they do it" if place == "host" else "the card does it",
    )  # fmt: skip
    return place
