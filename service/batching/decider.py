"""Runs of a shared device whose logits stay there.

Letters: ``b`` patches, ``c`` channels.
"""

import numpy as np
from jaxtyping import Float32, Shaped, UInt8

from seg.inference.backends.onnx import DecidingBackend


class Decider:
    """A backend that answers with one ``Decided`` a patch, and so shares batches as others do.

    What counts of a patch travels with it, as a channel more.
    """

    def __init__(self, backend: DecidingBackend, temperature: float) -> None:
        self._backend = backend
        self._temperature = temperature
        self.patch = backend.patch
        self.provider = backend.provider
        self.callers = backend.callers

    @property
    def batch_size(self) -> int:
        """Patches that pay off in one run."""
        return self._backend.batch_size

    @staticmethod
    def packed(
        patches: Float32[np.ndarray, "b c *patch"], inside: UInt8[np.ndarray, "b 1 *patch"]
    ) -> Float32[np.ndarray, "b channels *patch"]:
        """What ``run`` takes."""
        return np.concatenate([patches, inside.astype(np.float32)], axis=1)

    def run(self, patches: Float32[np.ndarray, "b channels *patch"]) -> Shaped[np.ndarray, " b"]:
        """One ``Decided`` a patch.

        Raises:
            BackendError: the network failed.
        """
        inside = patches[:, -1:].astype(np.uint8)
        answers = self._backend.decide(patches[:, :-1], inside, self._temperature)
        found = np.empty(len(answers), object)
        found[:] = answers
        return found
