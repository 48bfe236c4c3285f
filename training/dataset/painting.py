"""Patches that datasets lack: background alone, and what shines and is no object.

Letters: ``c`` channels.
"""

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from training.dataset.legend import IGNORE

HALO = 3
"""Voxels around an object that shine with it."""
LEAST_BACKGROUND = 0.25
"""Share of what is annotated in a patch that must be left to paint the objects out with."""
TRIES = 12
"""Shifts of the patch that bring background to where an object is."""
PALENESS = (0.15, 1.25)
"""Of an object, as a share of what it has above background."""
WIDTH = (0.01, 0.04)
"""Of a fibre, as a share of the patch's edge."""
SHINE = (1.0, 4.0)
"""How much brighter than the patch's brightest voxel an artefact is, in its deviations."""


def painted_out(
    image: Float32[np.ndarray, "c *spatial"],
    labels: UInt8[np.ndarray, "*spatial"],
    rng: np.random.Generator,
) -> tuple[Float32[np.ndarray, "c *spatial"], UInt8[np.ndarray, "*spatial"]]:
    """The patch with background, taken from elsewhere in it, in the place of every object.

    A network that was shown objects in every patch finds some in each: it normalises the features
    of a patch by their own deviation, and the noise of an empty one becomes as large as objects
    are. A patch without enough background stays as it is.
    """
    objects = (labels > 0) & (labels != IGNORE)
    painted = _without(objects, image, labels, rng)
    if painted is None:
        return image, labels
    return painted, np.where(objects, np.uint8(0), labels)


def faded(
    image: Float32[np.ndarray, "c *spatial"],
    labels: UInt8[np.ndarray, "*spatial"],
    rng: np.random.Generator,
) -> Float32[np.ndarray, "c *spatial"]:
    """The patch with each object as pale as chance has it, background showing through.

    Twenty outlines show hardly any of the pale objects of an image, and a gain of the whole patch
    is normalised away: what is missing is a pale object beside a bright one. A patch without
    enough background stays as it is.
    """
    objects = (labels > 0) & (labels != IGNORE)
    painted = _without(objects, image, labels, rng)
    if painted is None:
        return image
    near, count = ndimage.label(ndimage.binary_dilation(objects, iterations=HALO))
    palest, brightest = np.log(PALENESS)
    share = np.exp(rng.uniform(palest, brightest, count + 1)).astype(np.float32)
    share[0] = 1
    return np.asarray(painted + share[near] * (image - painted), np.float32)


def _without(
    objects: Bool[np.ndarray, "*spatial"],
    image: Float32[np.ndarray, "c *spatial"],
    labels: UInt8[np.ndarray, "*spatial"],
    rng: np.random.Generator,
) -> Float32[np.ndarray, "c *spatial"] | None:
    """Background in the place of objects; None where there are none, or too little of it."""
    if not objects.any():
        return None
    near = ndimage.binary_dilation(objects, iterations=HALO)
    # what nobody annotated may shine as well: its rim elsewhere would look like an object's
    background = ~ndimage.binary_dilation(labels > 0, iterations=HALO)
    places = np.flatnonzero(background)
    if len(places) < max(1, LEAST_BACKGROUND * np.count_nonzero(labels != IGNORE)):
        return None
    painted, missing = image.copy(), near & (labels != IGNORE)
    axes = tuple(range(labels.ndim))
    for _ in range(TRIES):
        left = np.flatnonzero(missing)
        if not len(left):
            break
        # of a patch that is annotated in a corner hardly any other shift finds background
        there, here = (np.unravel_index(rng.choice(each), labels.shape) for each in (left, places))
        shift = np.subtract(there, here).tolist()
        fits = missing & np.roll(background, shift, axes)
        painted[:, fits] = np.roll(image, shift, [axis + 1 for axis in axes])[:, fits]
        missing &= ~fits
    drawn = places[rng.integers(len(places), size=int(np.count_nonzero(missing)))]
    painted[:, missing] = image.reshape(len(image), -1)[:, drawn]
    return painted


def with_artefact(
    image: Float32[np.ndarray, "c *spatial"], rng: np.random.Generator
) -> Float32[np.ndarray, "c *spatial"]:
    """The patch with a bright fibre or speck of dust across it, in every slice of a volume."""
    height, width = image.shape[-2:]
    edge = float(min(height, width))
    angle, bend = rng.uniform(0, np.pi), rng.uniform(-1, 1) / edge
    length = np.inf if rng.random() < 0.5 else rng.uniform(0.05, 0.2) * edge
    thickness = max(0.7, rng.uniform(*WIDTH) * edge)
    y = np.arange(height, dtype=np.float32)[:, None] - rng.uniform(0, height)
    x = np.arange(width, dtype=np.float32) - rng.uniform(0, width)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle) + bend * along**2
    profile = np.exp(-0.5 * (across / thickness) ** 2) * (np.abs(along) <= length)
    axes = tuple(range(1, image.ndim))
    peak = image.max(axis=axes) + rng.uniform(*SHINE) * image.std(axis=axes)
    share = profile.astype(np.float32)
    shining = share * peak.reshape(-1, *(1,) * (image.ndim - 1)) + (1 - share) * image
    return np.asarray(np.maximum(image, shining.astype(np.float32)))
