"""What a network sees of a patch, told beside its logits to whoever listens.

Networks of our own packages give a second output, ``features``: mean and deviation of each channel
at the bottleneck. A thread that listens hears those of every patch that runs in it; nobody else is
told, and nothing that passes logits on needs to know. Letters: ``b`` batch, ``f`` features.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

OUTPUT = "features"
"""Name of the output in the ONNX file."""


class Heard(NamedTuple):
    """Features of some patches, and the file of the network that saw them."""

    network: str
    features: Float32[np.ndarray, "b f"]


_OF_THREAD = threading.local()


@contextmanager
def listening() -> Iterator[list[Heard]]:
    """Collect what networks see while the block runs in this thread."""
    outside, heard = _listener(), list[Heard]()
    _OF_THREAD.heard = heard
    try:
        yield heard
    finally:
        _OF_THREAD.heard = outside


def somebody_listens() -> bool:
    """Whether it is worth to ask the network for its features."""
    return _listener() is not None


def tell(network: str, features: Float32[np.ndarray, "b f"]) -> None:
    """Say it to the block that listens in this thread, if there is one."""
    heard = _listener()
    if heard is not None:
        heard.append(Heard(network, features))


def _listener() -> list[Heard] | None:
    return getattr(_OF_THREAD, "heard", None)
