"""Where several networks, or one network on mirrored patches, contradict each other.

Their mutual information: the entropy of the mean of their probabilities, less the mean of their
entropies. A voxel on which all of them waver alike has none; it is the part of the uncertainty
that more training data could remove.

Source: Smith & Gal, Understanding measures of uncertainty for adversarial example detection, UAI
2018. Letters: ``b`` batch, ``c`` channels, ``k`` channels of logits.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from seg.errors import ConfigError
from seg.inference.backends.combined import EnsembleBackend, MirrorBackend, ask
from seg.inference.backends.loading import open_model
from seg.inference.backends.onnx import Backend
from seg.inference.backends.ways import way_of
from seg.inference.labels.decision import probabilities_of
from seg.inference.labels.entropy import voxel_entropy
from seg.model_package import ModelCard, ModelPackage, Task
from seg.names import Provider


class Disagreement:
    """Mutual information of the networks heard so far."""

    def __init__(self, task: Task = "exclusive") -> None:
        self._task: Task = task
        self._count = 0
        self._mean: np.ndarray = np.zeros((), np.float32)
        self._entropies: np.ndarray = np.zeros((), np.float32)

    def hear(self, logits: Float32[np.ndarray, "b k *patch"]) -> None:
        """Take what a network says."""
        probabilities = probabilities_of(logits, self._task, axis=1)
        self._count += 1
        self._mean = self._mean + probabilities
        self._entropies = self._entropies + voxel_entropy(probabilities, self._task, axis=1)

    def result(self) -> Float32[np.ndarray, "b *patch"]:
        """In [0, 1], 0 where all agree."""
        together = voxel_entropy(self._mean / np.float32(self._count), self._task, axis=1)
        shared = together - self._entropies / np.float32(self._count)
        return np.asarray(np.clip(shared, 0, 1))


class DisagreementBackend:
    """Logits of a backend, and as one channel more the disagreement of all that are heard."""

    def __init__(
        self,
        backend: Backend,
        voices: Sequence[Backend] = (),
        task: Task = "exclusive",
        votes: int | None = None,
    ) -> None:
        """Listen to the members of ``backend`` and to other networks.

        Of their channels the first ``votes`` are heard, or all.

        Raises:
            ConfigError: one network alone has nothing to disagree with.
        """
        check_several(backend, voices)
        self._backend = backend
        self._voices = tuple(voices)
        self._task: Task = task
        self._votes = votes
        self.patch = backend.patch
        self.provider = backend.provider
        self.way = way_of(backend)
        self.callers = backend.callers

    @property
    def batch_size(self) -> int:
        """Patches that pay off in one run."""
        return self._backend.batch_size

    def run(
        self, patches: Float32[np.ndarray, "b c *patch"]
    ) -> Float32[np.ndarray, "b more *patch"]:
        """Logits, then disagreement.

        Raises:
            BackendError: a network failed.
        """
        heard = Disagreement(self._task)

        def hear(logits: Float32[np.ndarray, "b k *patch"]) -> None:
            heard.hear(logits[:, : self._votes])

        logits = ask(self._backend, patches, hear)
        for voice in self._voices:
            ask(voice, patches, hear)
        return np.concatenate([logits, heard.result()[:, None]], axis=1)


def check_several(backend: Backend, voices: Sequence[Backend] = ()) -> None:
    """Pass where there is somebody to disagree.

    Raises:
        ConfigError: one network alone has nothing to disagree with.
    """
    if not voices and not isinstance(backend, MirrorBackend | EnsembleBackend):
        raise ConfigError(
            "disagreement needs several voices: an ensemble, mirrored passes (mirror), or "
            "variants with fewer blocks; this is one network"
        )


def other_networks(card: ModelCard) -> list[str]:
    """The variants that are networks of their own, each in its fastest precision.

    A network without a block is one that came for free; one that differs from another in its
    rounding alone is none. float16 is left out: it is slow where there is no GPU.
    Source: Huang et al., Deep networks with stochastic depth, ECCV 2016.
    """
    first, *others = card.variants
    found: dict[tuple[tuple[str, ...], bool], str] = {}
    for other in others:  # the fastest come last
        is_another = other.blocks_dropped != first.blocks_dropped or other.distilled
        if other.precision != "float16" and is_another:
            found[other.blocks_dropped, other.distilled] = other.name
    return list(found.values())


def voices_of(
    package: ModelPackage, provider: Provider = "auto", threads: int | None = None
) -> list[Backend]:
    """The other networks of a package.

    Raises:
        BackendError: a variant cannot be loaded.
    """
    return [
        open_model(package.model_file(name), provider, threads=threads)
        for name in other_networks(package.card)
    ]
