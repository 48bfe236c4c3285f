"""Whether a training ends further where its network is compiled: measured, with what that costs."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from seg.errors import ConfigError
from training.planning.search import (
    SHARE_FOR_MEASURING,
    Budget,
    Candidate,
    Measure,
    measured_candidate,
)
from training.run.device import Device
from training.run.names import CompilationName
from training.run.plan import changed_plan

log = logging.getLogger("training")

LEAST_SECONDS = 60.0
"""That must be left for measuring: a network is compiled in about a minute. With a twentieth of the
time for measuring, trainings of less than twenty minutes are not compiled."""
CLEARLY_MORE = 1.05
"""Times the steps without it, for which a compiler and its surprises are worth it."""


def compiled_where_it_pays(
    best: Candidate,
    limits: Budget,
    device: Device,
    measure: Measure,
    left_s: Callable[[], float],
) -> Candidate:
    """The candidate, compiled in the way that allows most steps; as it is where none does.

    The training compiles again what was measured, so that its time counts against the steps; what
    the measurement took is gone from the budget. CUDA graphs are a way of their own.

    Args:
        best: measured without a compiler.
        limits: of time and memory, as of the beginning of the search.
        device: to train on.
        measure: takes some steps of a plan.
        left_s: seconds that may still be spent on measuring; where a number of steps is planned,
            a share of what they take is.
    """
    if device.kind != "cuda" or device.world.size > 1:
        return best
    chosen, needed, begun = best, LEAST_SECONDS, time.monotonic()
    if best.plan.steps:
        limits = replace(limits, seconds=best.plan.steps * best.seconds)
        best = chosen = replace(best, steps=float(best.plan.steps))
        left_s = _countdown(SHARE_FOR_MEASURING * limits.seconds)
    for way in best.plan.compilations[1:]:
        if left_s() < needed:
            break
        try:
            found = compiled_as_asked(best, way, limits, measure, left_s)
        except ConfigError as error:  # too little memory, or a compiler that is not there
            log.info("compiled  %s: left out, %s", way, error)
            continue
        needed = max(needed, limits.seconds - found.steps * found.seconds)
        if found.bytes <= limits.bytes and found.steps > chosen.steps:
            chosen = found
    if chosen.steps < CLEARLY_MORE * best.steps:
        chosen = best
    gone = (time.monotonic() - begun) / chosen.seconds
    return replace(chosen, steps=max(0.0, chosen.steps - gone))


def compiled_as_asked(
    best: Candidate,
    way: CompilationName,
    limits: Budget,
    measure: Measure,
    left_s: Callable[[], float],
) -> Candidate:
    """The candidate compiled in one way, measured, whatever it brings.

    Raises:
        ConfigError: it does not fit into the memory, or torch cannot compile it.
    """
    plan = changed_plan(best.plan, {"compiled": way})
    found = measure(plan, max(0.0, left_s()))
    log.info(
        "compiled  %s: %.2g s a step in place of %.2g, after %.0f s of compiling",
        way, found.seconds, best.seconds, found.compile_seconds,
    )  # fmt: skip
    return measured_candidate(plan, found, limits)


def _countdown(seconds: float) -> Callable[[], float]:
    until = time.monotonic() + seconds
    return lambda: until - time.monotonic()
