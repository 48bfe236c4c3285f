"""How many patches a run gets, and how long it waits for them: measured on this machine.

Asked once for a network, a provider and a machine, and then remembered.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np
from jaxtyping import Float

from seg.inference import Backend, Provider
from seg.inference.backends.fastest import patches_a_second
from seg.inference.backends.remembered import place_of, recall, remember
from seg.model_package import ModelPackage
from service.batching.scheduler import BatchingPolicy
from service.settings import Settings

SIZES = (1, 2, 4, 8)
ROUNDS, ROUND_S = 2, 0.06
"""Each size is timed so often, and at least so long; the best round counts."""
DOUBTS = 4
"""Rounds more in which a larger size must stay ahead: single patches may have had a busy machine,
and what is chosen here is remembered."""
BUDGET_S = 1.5
"""After so many seconds no larger size is tried."""
GAIN = 1.1
"""A larger batch must be so much faster a patch: it makes all its requests wait for the last."""
SHORT_MS = 50.0
"""Where a run takes less, there is one run more than there are cores: else a core would stand still
for a large share of the time, until the next thread has taken over."""
CPU_PROVIDERS: Mapping[str, Provider] = {"CPUExecutionProvider": "cpu", "OpenVINO": "openvino"}
"""By the name that a backend gives: that by which it is asked for."""
WAIT_SHARE = 0.05
"""Of a run's time, that a device which is free waits for its batch to fill."""


@dataclass(frozen=True)
class TimedBatches:
    """Of each size that was tried, by what all runners do side by side."""

    patches_a_second: Mapping[int, float] = field(default_factory=dict)
    run_ms: Mapping[int, float] = field(default_factory=dict)

    def best(self, most_ms: float) -> int:
        """The size with the best throughput whose run keeps the bound; 1 where none does."""
        chosen = 1
        for size, rate in sorted(self.patches_a_second.items()):
            is_faster = rate >= GAIN * self.patches_a_second[chosen]
            if size > 1 and is_faster and self.run_ms[size] <= most_ms:
                chosen = size
        return chosen


def measured_policy(
    package: ModelPackage, backend: Backend, settings: Settings
) -> tuple[BatchingPolicy, TimedBatches]:
    """The policy for a package here, and the times that it rests on; none where it is forced."""
    policy = BatchingPolicy.of(backend, settings.batching, settings.batch_size)
    times = TimedBatches()
    if settings.batching == "auto" and settings.batch_size is None:
        times = batch_times(package, backend, settings)
        policy = replace(policy, batch_size=times.best(settings.max_batch_ms))
    wait_ms = settings.batch_wait_ms
    if wait_ms is None:
        known = times.run_ms.get(policy.batch_size, 0.0) if policy.batch_size > 1 else 0.0
        wait_ms = WAIT_SHARE * known
    return replace(policy, wait_s=wait_ms / 1000), times


def with_spare_run(
    backend: Backend, policy: BatchingPolicy, times: TimedBatches, settings: Settings
) -> Settings:
    """Settings for one run more than there are cores, where runs are short and none is forced."""
    run_ms = times.run_ms.get(policy.batch_size, SHORT_MS)
    provider = CPU_PROVIDERS.get(backend.provider)
    if settings.network_threads is not None or provider is None or run_ms >= SHORT_MS:
        return settings
    more = {"provider": provider, "network_threads": backend.callers + 1}
    return settings.model_copy(update=more)


def batch_times(package: ModelPackage, backend: Backend, settings: Settings) -> TimedBatches:
    """What is remembered, else what is measured now."""
    facts = backend.provider, backend.callers, settings.max_batch_ms
    place = place_of("batches", package, settings.variant, *facts)
    known = _times_of(recall(place))
    if known is not None:
        return known
    patches = package.golden(settings.variant).patches
    times = _measured(backend, patches, settings.max_batch_ms)
    remember(place, asdict(times))
    return times


def _measured(
    backend: Backend, patches: Float[np.ndarray, "b c *patch"], most_ms: float
) -> TimedBatches:
    rates: dict[int, float] = {}
    runs: dict[int, float] = {}
    times, begin = TimedBatches(rates, runs), perf_counter()

    def measure(size: int) -> None:
        rate = patches_a_second(backend, patches, ROUND_S, size)
        rates[size] = max(rate, rates.get(size, 0.0))
        runs[size] = 1000 * backend.callers * size / rates[size]

    for turn in range(ROUNDS):
        for size in SIZES if not turn else tuple(rates):
            if rates and (perf_counter() - begin > BUDGET_S or runs.get(size // 2, 0) > most_ms):
                continue
            measure(size)
    for _ in range(DOUBTS):
        if (best := times.best(most_ms)) == 1:
            break
        measure(1)
        measure(best)
    return times


def _times_of(known: Mapping[str, Any]) -> TimedBatches | None:
    try:
        rates, runs = (
            {int(size): float(value) for size, value in known[name].items()}
            for name in ("patches_a_second", "run_ms")
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return TimedBatches(rates, runs) if 1 in rates and rates.keys() == runs.keys() else None
