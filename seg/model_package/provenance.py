"""Where a model comes from, and what it saw."""

from seg.frozen import FrozenData

ANY_INTENSITY = (-3e38, 3e38)
"""Of a channel of whose intensities nothing is known, as of a model that was made elsewhere."""


class IntensityStatistics(FrozenData):
    """Smallest and largest value over the training images, of one channel of whole images."""

    mean: tuple[float, float]
    deviation: tuple[float, float]
    noise_share: tuple[float, float]
    """Of the deviation: the noise, by the differences of neighbours. It is high where nothing else
    is in the image."""


class TrainingFingerprint(FrozenData):
    """Ranges seen in training; an input outside of them deserves a warning."""

    cases: int
    shape: tuple[tuple[int, int], ...]
    """Smallest and largest size in voxels, one pair a spatial axis."""
    spacing: tuple[tuple[float, float], ...] | None = None
    """Smallest and largest spacing in mm, one pair a spatial axis."""
    intensity: tuple[tuple[float, float], ...]
    """The 0.5 and 99.5 percentiles, one pair a channel."""
    statistics: tuple[IntensityStatistics, ...] | None = None
    """One entry a channel; None in older packages and in adopted ones."""


class Pretraining(FrozenData):
    """Weights that an encoder began with, which were learnt elsewhere."""

    encoder: str
    weights: str
    """Their name on the encoder's hub, or the name of a file."""
    sha256: str | None = None
    """Of the file; None where they came from a hub."""
    source: str = "not stated"
    licence: str = "not stated"


class Provenance(FrozenData):
    """Where the model comes from."""

    created: str
    seed: int
    dataset: str
    dataset_sha256: str
    trained_on: tuple[str, ...] = ()
    """Digests of the images that the network, or one of an ensemble, was trained on; empty in older
    packages."""
    trained_contents: tuple[str, ...] = ()
    """Digests of their intensities, which copies in another format have too; empty in older
    packages."""
    command: str
    versions: dict[str, str]
    steps: int | None = None
    """That the network was trained; None where it is not known."""
    expected_steps: int | None = None
    """That its plan had counted on."""
    pretraining: Pretraining | None = None
    """None where the network began with random weights, and of older packages."""
