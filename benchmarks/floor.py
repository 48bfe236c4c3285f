"""What an answer costs without a service around it: decode, the network, encode."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from seg.images import Mask, encode_mask, read_channels
from seg.inference import load_backend
from seg.model_package import ModelPackage


class Floor:
    """The steps by themselves, in one thread."""

    def __init__(self, package: Path) -> None:
        self._package = ModelPackage.load(package)
        self._backend = load_backend(self._package, provider="cpu")
        self._spent = {"decode": 0.0, "network": 0.0, "encode": 0.0}

    def milliseconds(self, pictures: Sequence[bytes], times: int) -> dict[str, float]:
        """CPU of each step an image."""
        self._spent = dict.fromkeys(self._spent, 0.0)
        for number in range(times):
            self._segment(pictures[number % len(pictures)])
        return {name: 1e3 * seconds / times for name, seconds in self._spent.items()}

    def _segment(self, picture: bytes) -> bytes:
        with self._step("decode"):
            image = read_channels([picture], dims=2)
        patch = np.ascontiguousarray(image.array[np.newaxis] / np.float32(255), np.float32)
        with self._step("network"):
            (logits,) = self._backend.run(patch)
        labels = logits.argmax(axis=0).astype(np.uint8)
        with self._step("encode"):
            return encode_mask(Mask(labels), "png", self._package.card.classes, image)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        start = time.thread_time()
        yield
        self._spent[name] += time.thread_time() - start
