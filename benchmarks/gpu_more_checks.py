"""Further points of the GPU path, which ``gpu_checks.py`` goes through after its own.

Each is a generator of rows; one that raises is a check that failed.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from data.phantom import draw
from seg.cuda_driver import DEVICE_VARIABLE, MEMORY_VARIABLE, cuda_devices, lock_pages
from seg.inference import OnnxBackend
from seg.inference.backends.buffers import Buffers
from training.dataset import load_dataset
from training.dataset.fingerprint import fingerprint_of
from training.learning.compiled import compiled_as_planned
from training.learning.module import SegmentationModule
from training.learning.trainer import shared_memory
from training.planning.options import PlanOptions
from training.planning.planner import plan_run
from training.planning.step_cost import measured_step
from training.run.clock import Clock
from training.run.device import find_device
from training.run.memory import TooLittleMemoryError
from training.run.plan import changed_plan

Row = dict[str, Any]
MIB = 2**20
STEPS = 5
TOO_MANY = 4096
"""Patches for which no card has room."""
LIMITS_MB = (100, 150, 200, 300, 450, 700, 1000)
CLASSES = 3
WAYS = ("none", "kernels", "graphs")


def chosen_by_auto(bench: Any) -> Iterator[Row]:
    """What runs a network where nobody chose."""
    provider = OnnxBackend(bench.file).provider
    yield {"what": "auto", "provider": provider, "is_card": provider != "CPUExecutionProvider"}


def waits(bench: Any) -> Iterator[Row]:
    """Steps of the training while torch raises whenever the host waits for the card."""
    module = SegmentationModule(bench.plan, bench.legend).to(bench.device)
    module.log_dict = lambda *_, **__: None
    optimiser = module.configure_optimizers()
    images = torch.randn(4, 1, *bench.patch, device=bench.device)
    labels = torch.zeros(4, 1, *bench.patch, dtype=torch.uint8, device=bench.device)

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast(bench.device, torch.bfloat16):
            module.training_step((images, labels), 0)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), bench.plan.gradient_clip)
        optimiser.step()

    step()  # tables are moved to the card, convolutions chosen
    if bench.device == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(STEPS):
            step()
    finally:
        if bench.device == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    yield {"what": "waits", "steps": STEPS, "of_host_for_card": 0}


def too_large(bench: Any) -> Iterator[Row]:
    """A step for which no card has room is told as such, and leaves nothing behind."""
    if bench.device != "cuda":
        yield {"what": "too large", "left_out": "it would fill this machine's memory"}
        return
    plan = changed_plan(bench.plan, {"batch_size": TOO_MANY})
    before, words = torch.cuda.memory_reserved(), ""
    try:
        measured_step(plan, bench.legend, find_device(), "float32", 60)
    except TooLittleMemoryError as error:
        words = str(error)
    left = torch.cuda.memory_reserved() - before
    yield {"what": "too large", "is_told": bool(words), "left_mib": left / MIB}


def compiled(bench: Any) -> Iterator[Row]:
    """A step of the planner's in each way of compiling, and what that takes."""
    for way in WAYS if bench.device == "cuda" else WAYS[:1]:  # minutes of a CPU
        plan = changed_plan(bench.plan, {"compiled": way})
        found = measured_step(plan, bench.legend, find_device(), "bfloat16", 60)
        yield {"what": "compiled", "way": way, "ms": 1000 * found.seconds,
               "compile_s": found.compile_seconds}  # fmt: skip


def planned(bench: Any) -> Iterator[Row]:
    """A whole search for a plan."""
    with tempfile.TemporaryDirectory() as folder:
        size = (64, 64) if bench.patch[0] < 64 else (512, 512)
        data = draw(Path(folder) / "phantom", cases=4, size=size)
        dataset, begun = load_dataset(data), time.perf_counter()
        fields = {"minutes": 0.5 if bench.device == "cpu" else 8.0}
        if bench.device == "cpu":
            fields |= {"network": "resunet-xs", "patch": (32, 32), "batch_size": 2}
        options = PlanOptions(data=data, chosen=fields)
        clock = Clock(fields["minutes"])
        plan = plan_run(options, dataset, fingerprint_of(dataset), find_device(), clock).plan
        yield {"what": "planned", "network": plan.network, "patch": list(plan.patch),
               "batch_size": plan.batch_size, "precision": plan.precision,
               "channels_last": plan.channels_last, "compiled": plan.compiled,
               "augment_on": plan.augment_on, "seconds": time.perf_counter() - begun}  # fmt: skip


def cramped(bench: Any) -> Iterator[Row]:
    """A batch for which a card has no room is halved, and the answer is the same."""
    if bench.device != "cuda":
        yield {"what": "cramped", "left_out": "a CPU has no limit for one network"}
        return
    expected = OnnxBackend(bench.file, provider="cuda").run(bench.patches)
    for limit in LIMITS_MB:
        with mock.patch.dict(os.environ, {MEMORY_VARIABLE: str(limit)}):
            try:
                backend = OnnxBackend(bench.file, provider="cuda", batch_size=8)
                found = backend.run(bench.patches)
            except Exception as error:  # not even one patch: more is tried
                yield {"what": "cramped", "limit_mb": limit, "words": str(error)[:200]}
                continue
        off = float(np.abs(found - expected).max())
        yield {"what": "cramped", "limit_mb": limit, "kept": backend.batch_size, "off": off}
        if backend.batch_size == 8:
            break


def alone_and_together(bench: Any) -> Iterator[Row]:
    """How far a patch's answer depends on what runs beside it."""
    backend = OnnxBackend(bench.file, provider=bench.device, batch_size=8)
    together = backend.run(bench.patches)
    alone = np.concatenate([backend.run(patch[None]) for patch in bench.patches])
    probabilities = [torch.from_numpy(each).softmax(1).numpy() for each in (together, alone)]
    yield {"what": "alone and together",
           "probability": float(np.abs(probabilities[0] - probabilities[1]).max()),
           "labels": float((together.argmax(1) != alone.argmax(1)).mean())}  # fmt: skip


def given_back(bench: Any) -> Iterator[Row]:
    """What a network holds of a card at work, idle, and when it is gone."""
    if bench.device != "cuda":
        yield {"what": "given back", "left_out": "of a card's memory"}
        return

    def taken() -> float:
        torch.cuda.empty_cache()
        return (free - torch.cuda.mem_get_info()[0]) / MIB

    free = torch.cuda.mem_get_info()[0]
    backend: OnnxBackend | None = OnnxBackend(bench.file, provider="cuda", batch_size=8)
    assert backend is not None
    backend.run(bench.patches)
    row: Row = {"what": "given back", "at_work_mib": taken()}
    backend.shrink()
    row["idle_mib"] = taken()
    backend = None
    yield row | {"gone_mib": taken()}


def each_card(bench: Any) -> Iterator[Row]:
    """The network on every card in sight."""
    for index in range(cuda_devices() if bench.device == "cuda" else 0):
        with mock.patch.dict(os.environ, {DEVICE_VARIABLE: str(index)}):
            logits = OnnxBackend(bench.file, provider="cuda").run(bench.patches[:2])
        found = torch.from_numpy(logits).softmax(1).numpy()
        yield {"what": "card", "index": index, "error": float(np.abs(found - bench.truth).max())}


def host_memory(bench: Any) -> Iterator[Row]:
    """Whether the driver locks the pages that outputs come back to, and what /dev/shm has."""
    locked = []

    def lock(address: int, size: int) -> Any:
        release = lock_pages(address, size)
        locked.append(release is not None)
        return release

    Buffers(1, lock).array((1, CLASSES, *bench.patch), np.float32)
    yield {"what": "host memory", "pages_locked": all(locked),
           "shared_mib": (shared_memory() or 0) / MIB}  # fmt: skip


def recorded_network(bench: Any) -> Iterator[Row]:
    """That a compiled network says what it says when it is not."""
    if bench.device != "cuda":
        yield {"what": "compiled answers", "left_out": "minutes of a CPU"}
        return
    network = bench.network.to("cuda")
    images = torch.from_numpy(bench.patches[:2]).to("cuda")
    with torch.inference_mode():
        expected = network(images)
        for way in WAYS[1:]:
            with compiled_as_planned(network, changed_plan(bench.plan, {"compiled": way})):
                found = [network(images).clone() for _ in range(3)][-1]
            off = (found.softmax(1) - expected.softmax(1)).abs().max()
            yield {"what": "compiled answers", "way": way, "error": float(off)}
    bench.network.to("cpu")


CHECKS = (
    chosen_by_auto, waits, alone_and_together, cramped, given_back, each_card, host_memory,
    too_large, planned, compiled, recorded_network,
)  # fmt: skip
"""Those that take longest at the end."""
