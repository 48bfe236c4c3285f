"""What this machine can do, measured."""

import time
from dataclasses import dataclass

import torch

from seg.errors import ConfigError
from seg.networks import make_network, parameter_count
from seg.networks.foreign.names import is_foreign
from training.dataset.legend import Legend
from training.learning.compiled import begin_step, compiled_as_planned, not_compiled
from training.learning.losses import make_loss
from training.learning.optimisers import OPTIMISERS
from training.run.device import (
    Device,
    Precision,
    has_bfloat16,
    lacks_memory,
    memory_format,
    using_threads,
)
from training.run.memory import TooLittleMemoryError, peak_of
from training.run.plan import Plan
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
    plan: Plan, legend: Legend, device: Device, precision: Precision, patience_s: float
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
    if not is_foreign(plan.network):
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
    precision: Precision,
    shape: tuple[int, ...],
    patience_s: float,
) -> tuple[int, float, float]:
    """Weights, seconds of the fastest step, and by how much the first took longer if compiled."""
    layout = memory_format(plan)
    network = make_network(plan.network_config(outputs_of(legend, plan)))
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
        with torch.autocast(kind, torch.bfloat16, enabled=precision == "bfloat16"):
            cost = loss(network(images), labels)
        cost.backward()
        if plan.gradient_clip:
            torch.nn.utils.clip_grad_norm_(weights, plan.gradient_clip)
        optimiser.step()
        torch._foreach_lerp_(average, [weight.detach() for weight in weights], 0.5)
        if kind == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)

    compile_seconds, begun = 0.0, time.perf_counter()
    with compiled_as_planned(network, plan):
        if plan.compiled != "none":  # CUDA graphs are recorded in the second step
            step()
            step()
            compile_seconds, begun = sum(times), time.perf_counter()
            times.clear()
        for _ in range(1 + TIMED_STEPS):
            step()
            if time.perf_counter() - begun > patience_s:
                break
    if compile_seconds:
        compile_seconds = max(0.0, compile_seconds - 2 * min(times))
    return parameter_count(network), min(times), compile_seconds


class Stopwatch:
    """Measures steps in the precision and with the threads that the first of them proved fastest.

    Where other programs keep the cores busy, threads of one step wait for each other most of the
    time, and fewer are faster.
    """

    def __init__(
        self,
        legend: Legend,
        device: Device,
        precision: Precision | None,
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
        self.channels_last: bool | None = None
        """Of a CUDA device, where both ways were measured."""
        self._searches = search and device.kind == "cpu" and threads is None
        self.found_fewer = False

    @property
    def precision(self) -> Precision:
        """Of the steps that were measured."""
        return self._precision or "float32"

    def __call__(self, plan: Plan, patience_s: float) -> Measured:
        """Take some steps as the plan says."""
        if self.device.kind == "cuda":
            return self._in_best_layout(plan, patience_s)
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
            found = self._measured(plan, self.precision, max(0.0, until - time.monotonic()))
            if found.seconds >= CLEARLY_FASTER * best.seconds:
                self.threads = before
                break
            best, self.found_fewer = found, True
        return best

    def _in_best_layout(self, plan: Plan, patience_s: float) -> Measured:
        """Tensor cores may want channels side by side; in 3D it depends on the library."""
        if self.channels_last is not None:
            chosen = plan.model_copy(update={"channels_last": self.channels_last})
            return self._in_best_precision(chosen, patience_s)
        usual = self._in_best_precision(plan, patience_s / 2)
        last = plan.model_copy(update={"channels_last": True})
        other = self._measured(last, self.precision, patience_s / 2)
        self.channels_last = other.seconds < usual.seconds
        return other if self.channels_last else usual

    def _in_best_precision(self, plan: Plan, patience_s: float) -> Measured:
        if self._precision is not None:
            return self._measured(plan, self._precision, patience_s)
        try:
            full = self._measured(plan, "float32", patience_s / 2)
        except TooLittleMemoryError:
            if not has_bfloat16(self.device):
                raise
            full = None
        self._precision = "float32"
        if has_bfloat16(self.device):
            lower = self._measured(plan, "bfloat16", patience_s / 2)
            if full is None or lower.seconds < CLEARLY_FASTER * full.seconds:
                self._precision = "bfloat16"
                return lower
        assert full is not None
        return full

    def _measured(self, plan: Plan, precision: Precision, patience_s: float) -> Measured:
        with using_threads(self.threads):
            return measured_step(plan, self.legend, self.device, precision, patience_s)
