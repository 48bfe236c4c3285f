"""The search for the plan that learns most in the time and the memory that there are.

Every network is measured once on its smallest patch and batch, which says about what the larger
ones would take; then the most promising of all are measured themselves, until the best of them is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from seg.errors import ConfigError
from seg.model_package import Channel
from training.dataset.fingerprint import Fingerprint
from training.planning.forecast import ALIKE, forecast_dice
from training.planning.rules import SEARCHES, make_plan
from training.planning.step_cost import Measured
from training.run.device import Device
from training.run.memory import WORKER_BYTES, TooLittleMemoryError, in_gib
from training.run.plan import Plan

SHARE_FOR_MEASURING = 0.05
"""Of the time, for training steps that are only measured."""
BYTES_A_WEIGHT = 4
COPIES_OF_WEIGHTS = 5
"""Themselves, gradients, two moments of the optimiser and the moving average."""
BATCHES_IN_FLIGHT = 6
"""Of patches, in the workers and on the way to the network."""


@dataclass(frozen=True)
class Candidate:
    """A plan, and what is known of it on this machine."""

    plan: Plan
    seconds: float
    """Of a step."""
    bytes: int
    """Of the whole training, on a CPU with the program itself."""
    steps: float
    """That the budget allows."""
    forecast_dice: float
    measured: bool

    @property
    def in_words(self) -> str:
        """For the terminal."""
        plan = self.plan
        patch = "x".join(map(str, plan.patch))
        about = "" if self.measured else "about "
        return (
            f"{plan.network:11} {plan.batch_size:2} x {patch:13} {about}{self.seconds:.2g} s a "
            f"step, {self.steps:.0f} steps, {in_gib(self.bytes)}"
        )


@dataclass(frozen=True)
class Budget:
    """What a training may take."""

    seconds: float
    bytes: int
    """Of one process."""
    held: int
    """Bytes that the program itself holds already; 0 where they lie elsewhere than the network."""


Measure = Callable[[Plan, float], Measured]
"""Takes some steps of a plan, and begins none after so many seconds."""


def candidates(
    fingerprint: Fingerprint,
    channels: Sequence[Channel],
    device: Device,
    chosen: Mapping[str, Any],
) -> list[Plan]:
    """All plans that are worth a thought; what was chosen is the same in all of them."""
    search = SEARCHES[device.kind]
    networks = (chosen["network"],) if "network" in chosen else search.networks
    voxels = (None,) if "patch" in chosen else search.voxels[fingerprint.dims]
    sizes = (
        (chosen["batch_size"],)
        if "batch_size" in chosen
        else tuple(device.world.size * size for size in search.batch_sizes[fingerprint.dims])
    )
    found: dict[tuple[Any, ...], Plan] = {}
    for network in networks:
        for most in voxels:
            for size in sizes:
                fields = {**chosen, "network": network, "batch_size": size}
                plan = make_plan(fingerprint, channels, device.kind, voxels=most, **fields)
                found.setdefault((plan.network, plan.patch, plan.batch_size), plan)
    return list(found.values())


def best_of(
    plans: Sequence[Plan], limits: Budget, measure: Measure, left_s: Callable[[], float]
) -> list[Candidate]:
    """The plans by the Dice that they promise within the limits, the best first and measured.

    Args:
        plans: one at least.
        limits: of time and memory.
        measure: of real training steps.
        left_s: seconds that may still be spent on measuring.

    Raises:
        ConfigError: none fits into the memory.
    """
    measured: dict[str, tuple[Plan, Measured]] = {}
    refused: TooLittleMemoryError | None = None
    for plan in _smallest_of_each_network(plans):
        if measured and left_s() <= 0:  # what has no time for a glance has none for a training
            break
        try:
            measured[plan.network] = plan, measure(plan, max(0.0, left_s() / 2))
        except TooLittleMemoryError as error:
            refused = TooLittleMemoryError(str(error))  # this one holds what did not fit
    searched = [
        _estimated(plan, *measured[plan.network], limits)
        for plan in plans
        if plan.network in measured
    ]
    while searched:
        fitting = [each for each in searched if each.bytes <= limits.bytes]
        if not fitting:
            raise ConfigError(_too_large(searched, limits))
        fitting = by_promise(fitting)
        best = fitting[0]
        if best.measured or left_s() <= 0:
            return fitting
        at = searched.index(best)
        try:
            found = measure(best.plan, max(0.0, left_s()))
        except TooLittleMemoryError as error:  # it seemed to fit: the next best is tried
            refused = TooLittleMemoryError(str(error))
            searched.pop(at)
            continue
        searched[at] = measured_candidate(best.plan, found, limits)
    assert refused is not None  # there is one plan at least
    raise refused


def by_promise(found: Sequence[Candidate]) -> list[Candidate]:
    """Best first; of those that promise the same the one with the largest step.

    A large patch shows more of what is around, and gradients get noisier as a loss falls.
    """
    rest = sorted(found, key=lambda each: -each.forecast_dice)
    alike = [each for each in rest if each.forecast_dice >= rest[0].forecast_dice - ALIKE]
    best = max(alike, key=lambda each: (each.seconds, _voxels(each.plan)))
    return [best, *(each for each in rest if each is not best)]


def _smallest_of_each_network(plans: Sequence[Plan]) -> list[Plan]:
    smallest: dict[str, Plan] = {}
    for plan in plans:
        other = smallest.setdefault(plan.network, plan)
        if _voxels(plan) < _voxels(other):
            smallest[plan.network] = plan
    return list(smallest.values())


def _voxels(plan: Plan) -> int:
    return plan.batch_size * prod(plan.patch)


def _estimated(plan: Plan, like: Plan, found: Measured, limits: Budget) -> Candidate:
    """By the voxels of a step of the same network that was measured."""
    if plan == like:
        return measured_candidate(plan, found, limits)
    factor = _voxels(plan) / _voxels(like)
    weights = COPIES_OF_WEIGHTS * BYTES_A_WEIGHT * found.parameters
    scaled = replace(
        found,
        seconds=factor * found.seconds,
        bytes=int(weights + factor * max(0, found.bytes - weights)),
    )
    estimate = measured_candidate(plan, scaled, limits)
    return replace(estimate, measured=False)


def _bytes(plan: Plan, found: Measured, limits: Budget) -> int:
    """Of a training whose steps take so much at their peak."""
    patches = BATCHES_IN_FLIGHT * BYTES_A_WEIGHT * _voxels(plan) * (len(plan.normalisation) + 2)
    beside = WORKER_BYTES + patches if limits.held else 0
    return limits.held + found.bytes + beside


def measured_candidate(plan: Plan, found: Measured, limits: Budget) -> Candidate:
    """What steps like those that were measured add up to in the time that compiling leaves."""
    steps = max(0.0, limits.seconds - found.compile_seconds) / found.seconds
    dice = forecast_dice(plan.network, steps, plan.batch_size, plan.patch)
    return Candidate(plan, found.seconds, _bytes(plan, found, limits), steps, dice, measured=True)


def _too_large(searched: Sequence[Candidate], limits: Budget) -> str:
    least = min(searched, key=lambda each: each.bytes)
    return (
        f"training needs {in_gib(least.bytes)} of memory at least ({least.plan.network}, "
        f"{least.plan.batch_size} patches of {'x'.join(map(str, least.plan.patch))}), allowed are "
        f"{in_gib(limits.bytes)}; raise --memory, or set a smaller --patch or --batch-size"
    )
