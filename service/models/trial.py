"""A package that came over the network runs first where it can be ended: in a process of its own.

A network may ask for any memory and go on for ever, and its golden samples may unpack to anything.
Whether it says what it should is looked at afterwards, by `ReadyModel`'s own proof. Operators that
nobody knows and weights larger than they are onnxruntime refuses.
"""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from seg.device_memory import lacks_memory
from seg.errors import PackageError
from seg.names import Provider
from service.expendable import be_expendable
from service.observability.process_memory import own_bytes

if TYPE_CHECKING:
    import numpy as np

LACKS_MEMORY = 3
"""Status of a process that had too little."""
POLL_S = 0.05
"""Between two looks at what it takes."""


def try_out(
    folder: Path,
    networks: Sequence[str],
    *,
    seconds: float,
    memory: int,
    took: Callable[[int], None] = lambda used: None,
    provider: Provider = "auto",
) -> None:
    """Run each network once on a golden sample, by all that may run it on a CPU.

    Args:
        folder: of the package.
        networks: its ONNX files.
        seconds: that this may take.
        memory: bytes that it may take.
        took: is told many times a second how many it takes now; what it raises ends the trial.
        provider: of the settings.

    Raises:
        PackageError: it takes more, or crashes.
    """
    # not for the process that is started, which would take a second to import it
    from seg.model_package.folder import GOLDEN_FILE

    limits = json.dumps({"memory": memory, "seconds": seconds})
    runtimes = json.dumps([name for name in RUN_WITH if provider in ("auto", name)] or ["cpu"])
    files = [str(folder / name) for name in (GOLDEN_FILE, *networks)]
    command = [sys.executable, "-m", __name__, limits, runtimes, *files]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            status = _watched(process, seconds, took)
        finally:
            process.kill()
    if status == -signal.SIGXCPU:
        raise PackageError(
            f"a patch takes the package longer than {seconds:g} s (SEG_TIMEOUT_S) on a core here"
        )
    if status in (LACKS_MEMORY, -signal.SIGKILL):
        raise PackageError(
            f"a patch takes the package more than the {memory / 1e6:,.0f} MB that there are here"
        )
    if status < 0:
        raise PackageError(f"the runtime crashes over the package ({signal.Signals(-status).name})")


def _watched(
    process: "subprocess.Popen[bytes]", seconds: float, took: Callable[[int], None]
) -> int:
    """How it ended, or would have ended."""
    until = monotonic() + seconds
    while monotonic() < until:
        try:
            return process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            took(own_bytes(process.pid))
    return -signal.SIGXCPU


def main() -> int:
    """Run the networks named on the command line; what merely fails is told by the proof."""
    limits, runtimes, golden, *networks = sys.argv[1:]
    be_expendable()
    _limit(**json.loads(limits))
    for network in networks:
        for runtime in json.loads(runtimes):
            try:
                RUN_WITH[runtime](network, _patch(golden))
            except Exception as error:
                if isinstance(error, MemoryError) or lacks_memory(error):
                    return LACKS_MEMORY
    return 0


def _patch(golden: str) -> "np.ndarray":
    import numpy as np

    with np.load(golden, allow_pickle=False) as arrays:
        patch: np.ndarray = arrays["patches"][:1]
    return patch


def _with_onnxruntime(network: str, patch: "np.ndarray") -> None:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    session.run(None, {session.get_inputs()[0].name: patch})


def _with_openvino(network: str, patch: "np.ndarray") -> None:
    try:
        import openvino
    except ImportError:  # then it runs nothing here
        return
    core = openvino.Core()
    one_thread = {"INFERENCE_NUM_THREADS": "1", "NUM_STREAMS": "1"}
    core.compile_model(core.read_model(network), "CPU", one_thread).infer_new_request([patch])


RUN_WITH: Mapping[str, Callable[[str, "np.ndarray"], None]] = {
    "cpu": _with_onnxruntime,
    "openvino": _with_openvino,
}
"""By the name of the provider."""


def _limit(memory: int, seconds: float) -> None:
    until = int(seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (until, until + 1))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


if __name__ == "__main__":
    sys.exit(main())
