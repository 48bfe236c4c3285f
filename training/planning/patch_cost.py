"""Whether the host makes patches as fast as a card wants them, and what to do where it does not."""

import logging
import math
import time

import numpy as np

from training.run.device import Device, using_threads, workers_of
from training.run.names import AugmentationPlace
from training.run.plan import Plan
from training.samples.augmentation import Augmentation

log = logging.getLogger("training")

AMPLE = 1.25
"""Times the patches that a card wants, which the host should make: cases are read meanwhile."""
SECONDS, LEAST, MOST = 2.0, 10, 100
"""How long patches are made for measuring, and how many at least and at most."""


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


def place_to_augment(plan: Plan, step_seconds: float, device: Device) -> AugmentationPlace:
    """The host where it keeps up with a card, the card where it does not.

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
    place: AugmentationPlace = "host" if made >= AMPLE * wanted else "device"
    log.info(
        "patches   %d processes change %.3g a second, the network takes %.3g: %s",
        workers, made, wanted,
        "they do it" if place == "host" else "the card does it",
    )  # fmt: skip
    return place
