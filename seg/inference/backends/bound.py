"""A session of onnxruntime whose outputs arrive in arrays that are used again.

By itself onnxruntime makes new arrays for each run, out of memory of its own: a card copies into
them by way of pages that the system may not move, and while they are held the memory cannot be
given back. Letters: ``b`` batch.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime as ort

from seg.cuda_driver import chosen_device, lock_pages
from seg.inference.backends.buffers import Buffers

KEPT = 4
"""Free arrays of a size, beside one for each run at the same time."""
TYPES: Mapping[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
SHRINKAGE = "memory.enable_memory_arena_shrinkage"


class BoundSession:
    """Runs a session by onnxruntime's IOBinding."""

    def __init__(self, session: ort.InferenceSession, *, on_card: bool, callers: int) -> None:
        """Bind a session that runs on the chosen card, or on the CPU, so often at a time."""
        self._session = session
        self._device = ("cuda", chosen_device()) if on_card else ("cpu", 0)
        self.buffers = Buffers(callers + KEPT, lock_pages if on_card else None)
        self._outputs = {output.name: output for output in session.get_outputs()}
        self.bytes_back = 0
        """That outputs brought to the host, in all runs; of several threads about."""

    def run(
        self,
        feeds: Mapping[str, np.ndarray | ort.OrtValue],
        wanted: Mapping[str, tuple[int, ...] | None],
        *,
        shrink: bool = False,
    ) -> list[np.ndarray]:
        """Some outputs, in arrays of the host.

        Args:
            feeds: inputs.
            wanted: outputs with their shapes; None where the session knows better.
            shrink: give the memory back afterwards that this run did not need.
        """
        binding = self._bound(feeds)
        outputs: list[np.ndarray | None] = []
        for name, shape in wanted.items():
            dtype = TYPES.get(self._outputs[name].type)
            if shape is None or dtype is None:
                binding.bind_output(name)
                outputs.append(None)
                continue
            array = self.buffers.array(shape, dtype)
            binding.bind_output(name, "cpu", 0, dtype, shape, array.ctypes.data)
            outputs.append(array)
        self._session.run_with_iobinding(binding, self._shrinking() if shrink else None)
        answers = [
            value.numpy() if array is None else array
            for array, value in zip(outputs, binding.get_outputs(), strict=True)
        ]
        self.bytes_back += sum(answer.nbytes for answer in answers)
        return answers

    def run_there(
        self, feeds: Mapping[str, np.ndarray | ort.OrtValue], wanted: Sequence[str]
    ) -> list[ort.OrtValue]:
        """Some outputs, the first left where it was computed, the others on the host."""
        binding = self._bound(feeds)
        for place, name in enumerate(wanted):
            binding.bind_output(name, *(self._device if not place else ("cpu", 0)))
        self._session.run_with_iobinding(binding)
        return list(binding.get_outputs())

    def _bound(self, feeds: Mapping[str, np.ndarray | ort.OrtValue]) -> ort.IOBinding:
        binding = self._session.io_binding()
        for name, value in feeds.items():
            if isinstance(value, ort.OrtValue):
                binding.bind_ortvalue_input(name, value)
            else:
                binding.bind_cpu_input(name, np.ascontiguousarray(value))
        return binding

    def _shrinking(self) -> ort.RunOptions:
        kind, number = self._device
        options = ort.RunOptions()
        places = ["cpu:0"] if kind == "cpu" else ["cpu:0", f"gpu:{number}"]
        options.add_run_config_entry(SHRINKAGE, ";".join(places))
        return options


def sizes_of(output: ort.NodeArg, count: int) -> tuple[int, ...] | None:
    """The shape of an output for a batch of so many; None where the model does not say it."""
    rest = tuple(output.shape[1:])
    return (count, *rest) if rest and all(isinstance(size, int) for size in rest) else None
