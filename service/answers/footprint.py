"""What segmenting an image takes beside the image, so that the room for decoding can hold it."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from math import prod

from seg.images import Image
from seg.model_package import ModelCard
from seg.names import MapName
from seg.transforms import resampled_shape
from seg.transforms.rows import PART_BYTES, WHOLE_BYTES
from service.decoding.budget import FREE_BYTES
from service.decoding.image_decoder import OWN_SHARE, ImageDecoder

LABEL_BYTES = 2
"""Of a voxel: its label, and once more while it is turned or cleaned up."""
OBJECT_BYTES = 8
"""Of a voxel where objects are told apart: their numbers, and once more while they are grown."""
MAP_BYTES = 4
"""Of a voxel and channel of a map: float16, and once more while it is written."""
PARTS = 3
"""Of an image that is prepared in parts, how many are in memory."""


def footprint(card: ModelCard, image: Image, channels_of_maps: int, *, with_objects: bool) -> int:
    """Bytes that grow with an image, of its prepared voxels, labels, objects and maps.

    What the network's windows take does not grow with it, and is the model's own.
    """
    spec = card.input.preprocessing
    grid = resampled_shape(image.spatial_shape, image.spacing, spec.spacing)
    prepared = 4 * image.channels * prod(grid)
    if prepared > WHOLE_BYTES and spec.convention != "nnunet":
        prepared = PARTS * PART_BYTES
    each = LABEL_BYTES + OBJECT_BYTES * with_objects + MAP_BYTES * channels_of_maps
    return prepared + each * prod(image.spatial_shape)


@contextmanager
def room_for(
    decoder: ImageDecoder,
    card: ModelCard,
    image: Image,
    maps: Collection[MapName],
    *,
    with_objects: bool,
) -> Iterator[None]:
    """Hold that much of what decoding may take; what is little needs none.

    Raises:
        ImageTooLargeError: there never is so much.
        DecodingFullError: others have it now.
    """
    sizes: dict[MapName, int] = {"probabilities": card.outputs}
    channels = sum(sizes.get(name, 1) for name in maps)
    needed = footprint(card, image, channels, with_objects=with_objects)
    needed -= (OWN_SHARE - 1) * image.array.nbytes  # which it holds already
    if needed <= FREE_BYTES:
        yield
        return
    with decoder.room(needed, image):
        yield
