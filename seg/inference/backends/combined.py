"""Backends made of backends: a patch seen in mirrors, and networks that vote.

Letters: ``b`` batch, ``c`` channels, ``k`` classes.
"""

from collections.abc import Callable, Sequence
from functools import partial, reduce
from itertools import chain, combinations

import numpy as np
from jaxtyping import Float32
from scipy.special import log_softmax

from seg.errors import BackendError
from seg.inference.backends.memory import shrink
from seg.inference.backends.onnx import Backend
from seg.inference.backends.ways import way_of
from seg.model_package import Averaging, Task

Heard = Callable[[Float32[np.ndarray, "b k *patch"]], None]
"""Is told the logits of each network and of each mirror, before they are averaged."""


class MirrorBackend:
    """The mean of the logits over all mirrors of a patch: 4 runs in 2D, 8 in 3D.

    Source: Isensee et al., nnU-Net, Nature Methods 18 (2021), which averages logits as well.
    """

    def __init__(self, backend: Backend, axes: Sequence[int] | None = None) -> None:
        """Mirror along these spatial axes; along all where not given."""
        self._backend = backend
        self.patch = backend.patch
        self.provider = backend.provider
        self.way = way_of(backend)
        self.callers = backend.callers
        along = [2 + axis for axis in (range(len(self.patch)) if axes is None else axes)]
        self._flips = tuple(
            chain.from_iterable(combinations(along, n) for n in range(len(along) + 1))
        )

    @property
    def batch_size(self) -> int:
        """Patches that pay off in one run."""
        return self._backend.batch_size

    def shrink(self) -> None:
        """Give back the memory that is kept for the next run."""
        shrink(self._backend)

    def run(
        self, patches: Float32[np.ndarray, "b c *patch"], heard: Heard | None = None
    ) -> Float32[np.ndarray, "b k *patch"]:
        """Mean logits of each patch.

        Raises:
            BackendError: the network failed.
        """
        total = ask(self._backend, patches, heard).astype(np.float32)
        for axes in self._flips[1:]:
            mirrored = np.ascontiguousarray(np.flip(patches, axes))
            here = partial(_tell_flipped, heard, axes) if heard else None
            total += np.flip(ask(self._backend, mirrored, here), axes)
        total /= len(self._flips)
        return total


class EnsembleBackend:
    """The mean of the probabilities of several networks, told as logits; or of their logits.

    The softmax (or sigmoid, of regions) of what is told is the mean of the members' probabilities.
    Blending and resampling go on with them as with the logits of one network.
    """

    def __init__(
        self,
        members: Sequence[Backend],
        task: Task = "exclusive",
        averaging: Averaging = "probabilities",
        votes: int | None = None,
    ) -> None:
        """Take the networks.

        Args:
            members: at least one.
            task: says what the logits mean.
            averaging: what is averaged.
            votes: channels that are probabilities, the first ones; others are averaged as they
                are. None for all.

        Raises:
            BackendError: there is none, or their patches differ.
        """
        if len({member.patch for member in members}) != 1:
            sizes = ", ".join(str(member.patch) for member in members) or "no network"
            raise BackendError(f"an ensemble needs networks of one patch size, got {sizes}")
        self._members = tuple(members)
        self._task = task
        self._averaging = averaging
        self._votes = votes
        self.patch = members[0].patch
        self.provider = "+".join(dict.fromkeys(member.provider for member in members))
        self.way = way_of(members[0])
        self.callers = min(member.callers for member in members)

    @property
    def batch_size(self) -> int:
        """Patches that pay off in one run."""
        return min(member.batch_size for member in self._members)

    def shrink(self) -> None:
        """Give back the memory that is kept for the next run."""
        for member in self._members:
            shrink(member)

    def run(
        self, patches: Float32[np.ndarray, "b c *patch"], heard: Heard | None = None
    ) -> Float32[np.ndarray, "b k *patch"]:
        """Logits of the mean probabilities of each patch.

        Raises:
            BackendError: a network failed.
        """
        each = [ask(member, patches, heard) for member in self._members]
        votes = each[0].shape[1] if self._votes is None else self._votes
        if votes == each[0].shape[1]:
            return self._mean(each)
        rest = reduce(np.add, (x[:, votes:] for x in each)) / np.float32(len(each))
        return np.concatenate([self._mean([x[:, :votes] for x in each]), rest], axis=1)

    def _mean(
        self, each: Sequence[Float32[np.ndarray, "b k *patch"]]
    ) -> Float32[np.ndarray, "b k *patch"]:
        if self._averaging == "logits":
            return np.asarray(reduce(np.add, each) / np.float32(len(self._members)))
        if self._task == "regions":
            logs = zip(*((_log_sigmoid(x), _log_sigmoid(-x)) for x in each), strict=True)
            inside, outside = (reduce(np.logaddexp, of_all) for of_all in logs)
            return np.asarray(inside - outside)
        total = reduce(np.logaddexp, (log_softmax(x, axis=1) for x in each))
        return np.asarray(total - np.float32(np.log(len(self._members))))


def ask(
    backend: Backend, patches: Float32[np.ndarray, "b c *patch"], heard: Heard | None
) -> Float32[np.ndarray, "b k *patch"]:
    """Logits of each patch; ``heard`` is told those of every network that has a part in them."""
    if isinstance(backend, MirrorBackend | EnsembleBackend):
        return backend.run(patches, heard)
    logits = backend.run(patches)
    if heard:
        heard(logits)
    return logits


def _tell_flipped(
    heard: Heard, axes: tuple[int, ...], logits: Float32[np.ndarray, "b k *patch"]
) -> None:
    heard(np.flip(logits, axes))


def _log_sigmoid(x: Float32[np.ndarray, "b k *patch"]) -> Float32[np.ndarray, "b k *patch"]:
    return np.asarray(-np.logaddexp(np.float32(0), -x))
