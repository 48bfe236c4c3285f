"""What this machine can do, measured."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch

from seg.device_memory import lacks_memory
from seg.errors import ConfigError, SegError
from seg.networks import make_network, parameter_count
from seg.networks.foreign.names import is_foreign
from training.dataset.legend import Legend
from training.learning.compiled import begin_step, compiled_as_planned, not_compiled
from training.learning.losses import make_loss
from training.learning.optimisers import OPTIMISERS
from training.run.device import Device, lower_precision, memory_format, using_threads
from training.run.memory import TooLittleMemoryError, forget_peak, peak_of
from training.run.names import PrecisionName
from training.run.plan import Plan
from training.run.safe_gradients import safe_gradients
from training.samples.object_targets import learnt_legend, outputs_of

TIMED_STEPS = 2


FRAGMENTATION = 1.15
"""What a CUDA device must hold for each byte that is allocated: freed blocks leave gaps."""
CLEARLY_FASTER = 0.85
"""A lower precision is taken only where a step takes at most this share of the time."""


@dataclass(frozen=True)
class Measured:
    """Real training steps on this machine."""

    seconds: float
    """Of a step; the fastest of some, since other programs disturb."""
    bytes: int
    """At the highest point, above what the program held before, with the average of the weights."""
    parameters: int
    compile_seconds: float = 0.0
    """By which the first steps took longer, where the network is compiled."""


def measured_step(
    plan: Plan, legend: Legend, device: Device, precision: PrecisionName, patience_s: float
) -> Measured:
    """Take a few training steps as the plan says, in another precision.

    Args:
        plan: says network, patch, batch, loss and optimiser.
        legend: says how many channels the logits have.
        device: to measure; of several processes each takes its share of the batch.
        precision: of the network.
        patience_s: after so many seconds no further step is begun.

    Raises:
        ConfigError: a network of another library fails on patches of this size.
        TooLittleMemoryError: for a step.
        ConfigError: torch cannot compile what the plan wants compiled.
    """
    shape = (max(1, plan.batch_size // device.world.size), len(plan.normalisation), *plan.patch)
    try:
        with peak_of(device.kind) as peak:
            parameters, seconds, more = _steps(
                plan, legend, device.kind, precision, shape, patience_s
            )
    except Exception as error:  # whatever a network of another library says to these sizes
        explained = _explained(error, plan, shape, device)
        if explained is None:
            raise
        raise explained from error
    taken = max(0, peak.bytes - peak.before) * (FRAGMENTATION if device.kind == "cuda" else 1)
    return Measured(plan.accumulate * seconds, int(taken), parameters, more)


def _explained(
    error: Exception, plan: Plan, shape: tuple[int, ...], device: Device
) -> Exception | None:
    """What a failed step means; None where it is a fault of ours."""
    if isinstance(error, RuntimeError) and lacks_memory(error):
        return TooLittleMemoryError(
            f"{device.name} has too little memory for a step of {shape}; set a smaller "
            "--batch-size or --patch"
        )
    if isinstance(error, RuntimeError) and plan.compiled != "none":
        return not_compiled(error)
    if isinstance(error, SegError) or not is_foreign(plan.network):  # the former says it itself
        return None
    return ConfigError(
        f"{plan.network} does not train on {shape[0]} patches of "
        f"{'x'.join(map(str, plan.patch))}: {str(error).splitlines()[0][:200]}; set a larger "
        "--patch or --batch-size, or take another network"
    )


def _steps(
    plan: Plan,
    legend: Legend,
    kind: str,
    precision: PrecisionName,
    shape: tuple[int, ...],
    patience_s: float,
) -> tuple[int, float, float]:
    """Weights, seconds of the fastest step, and by how much the first took longer if compiled."""
    layout = memory_format(plan)
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision)
    scaler = torch.amp.GradScaler(kind, enabled=half is torch.float16)
    network = make_network(plan.network_config(outputs_of(legend, plan.instances)))
    network = network.to(kind).to(memory_format=layout)
    legend = learnt_legend(legend, plan)
    loss = make_loss(legend, plan.loss, plan.class_weights)
    weights = list(network.parameters())
    optimiser = OPTIMISERS[plan.optimiser]([{"params": weights}], lr=0.0)
    average = [weight.detach().clone() for weight in weights]
    images = torch.randn(shape, device=kind).contiguous(memory_format=layout)
    labels = torch.randint(legend.num_labels, (shape[0], 1, *shape[2:]), device=kind).float()
    times: list[float] = []

    def step() -> None:
        start = time.perf_counter()
        begin_step(plan)
        optimiser.zero_grad()
        with torch.autocast(kind, half, enabled=half is not None):
            cost = loss(network(images), labels)
        scaler.scale(cost).backward()
        if plan.gradient_clip:
            scaler.unscale_(optimiser)
            torch.nn.utils.clip_grad_norm_(weights, plan.gradient_clip)
        scaler.step(optimiser)
        scaler.update()
        torch._foreach_lerp_(average, [weight.detach() for weight in weights], 0.5)
        if kind == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)

    compile_seconds, begun = 0.0, time.perf_counter()
    with safe_gradients(kind), compiled_as_planned(network, plan), _searching_convolutions():
        if plan.compiled != "none":  # CUDA graphs are recorded in the second step
            step()
            step()
            compile_seconds, begun = sum(times), time.perf_counter()
            times.clear()
        for number in range(1 + TIMED_STEPS):
            if number == 1:
                forget_peak(kind)  # cuDNN tries ways with whatever memory is left
            step()
            if time.perf_counter() - begun > patience_s:
                break
    if compile_seconds:
        compile_seconds = max(0.0, compile_seconds - 2 * min(times))
    return parameter_count(network), min(times), compile_seconds


@contextmanager
def _searching_convolutions() -> Iterator[None]:
    """As the training does, cuDNN takes the fastest that it finds for these shapes."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


class StepWay(NamedTuple):
    """How a step is computed."""

    precision: PrecisionName
    channels_last: bool


class Stopwatch:
    """Measures steps in the way that proves fastest.

    On a CPU the first step decides precision and threads of all: where other programs keep the
    cores busy, threads of one step wait for each other most of the time, and fewer are faster. On a
    card small steps are spent on starting kernels, and say nothing of large ones: each plan is
    measured in its own best way.
    """

    def __init__(
        self,
        legend: Legend,
        device: Device,
        precision: PrecisionName | None,
        threads: int | None,
        *,
        search: bool = True,
    ) -> None:
        """Args: what was chosen, None where it was not; ``search`` for the number of threads."""
        self.legend = legend
        self.device = device
        self._precision = precision
        self.threads = threads
        """None for all."""
        self._ways: dict[tuple[str, tuple[int, ...], int], StepWay] = {}
        """Of a CUDA device, by network, patch and batch."""
        self._last: StepWay | None = None
        """Of them, for plans that there was no time to measure."""
        self._lower_pays = False
        """Whether a step was clearly faster in it; larger ones are all the more."""
        self._searches = search and device.kind == "cpu" and threads is None
        self.found_fewer = False

    def way_of(self, plan: Plan) -> StepWay:
        """In which the steps of a plan were measured."""
        usual = StepWay(self._precision or "float32", plan.channels_last)
        return self._ways.get(_size_of(plan), self._last or usual)

    def __call__(self, plan: Plan, patience_s: float) -> Measured:
        """Take some steps as the plan says."""
        if self.device.kind == "cuda":
            return self._on_card(plan, patience_s)
        if not self._searches:
            return self._in_best_precision(plan, patience_s)
        self._searches = False
        return self._with_fewer_threads(
            plan, self._in_best_precision(plan, patience_s / 2), patience_s / 2
        )

    def _with_fewer_threads(self, plan: Plan, best: Measured, patience_s: float) -> Measured:
        """Halve the threads as long as that is faster."""
        until = time.monotonic() + patience_s
        while (count := self.threads or torch.get_num_threads()) > 1:
            before, self.threads = self.threads, count // 2
            patience = max(0.0, until - time.monotonic())
            found = self._measured(plan, self._precision or "float32", patience)
            if found.seconds >= CLEARLY_FASTER * best.seconds:
                self.threads = before
                break
            best, self.found_fewer = found, True
        return best

    def _on_card(self, plan: Plan, patience_s: float) -> Measured:
        """Tensor cores may want channels side by side; in 3D it depends on the library."""
        way = self._ways.get(_size_of(plan))
        if way is not None:
            return self._measured(_laid_out(plan, way), way.precision, patience_s)
        found, precision = self._in_best_way(plan, patience_s / 2)
        way = StepWay(precision, plan.channels_last)
        other = StepWay(precision, not plan.channels_last)
        try:
            turned = self._measured(_laid_out(plan, other), precision, patience_s / 2)
        except TooLittleMemoryError:  # it fits as it is
            turned = found
        if turned.seconds < found.seconds:
            found, way = turned, other
        self._ways[_size_of(plan)] = self._last = way
        return found

    def _in_best_precision(self, plan: Plan, patience_s: float) -> Measured:
        """That of the first step, from then on."""
        found, self._precision = self._in_best_way(plan, patience_s)
        return found

    def _in_best_way(self, plan: Plan, patience_s: float) -> tuple[Measured, PrecisionName]:
        """Steps in the precision that was chosen, or in the faster one."""
        if self._precision is not None:
            return self._measured(plan, self._precision, patience_s), self._precision
        lower = lower_precision(self.device)
        if lower is None:
            return self._measured(plan, "float32", patience_s / 2), "float32"
        full = None if self._lower_pays else self._in_float32(plan, patience_s / 2)
        found = self._measured(plan, lower, patience_s / 2)
        if full is None or found.seconds < CLEARLY_FASTER * full.seconds:
            self._lower_pays = self._lower_pays or full is not None
            return found, lower
        return full, "float32"

    def _in_float32(self, plan: Plan, patience_s: float) -> Measured | None:
        try:
            return self._measured(plan, "float32", patience_s)
        except TooLittleMemoryError:
            return None

    def _measured(self, plan: Plan, precision: PrecisionName, patience_s: float) -> Measured:
        with using_threads(self.threads):
            return measured_step(plan, self.legend, self.device, precision, patience_s)


def _size_of(plan: Plan) -> tuple[str, tuple[int, ...], int]:
    return plan.network, plan.patch, plan.batch_size


def _laid_out(plan: Plan, way: StepWay) -> Plan:
    return plan.model_copy(update={"channels_last": way.channels_last})
