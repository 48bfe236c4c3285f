"""How many patches a run gets, and how long it waits for them: measured on this machine.

Asked once for a network, a provider and a machine, and then remembered.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np
from jaxtyping import Float

from seg.device_memory import lacks_memory
from seg.inference import Backend, Provider
from seg.inference.backends.fastest import patches_a_second
from seg.inference.backends.remembered import place_of, recall, remember
from seg.inference.backends.ways import way_of
from seg.model_package import ModelPackage
from service.batching.scheduler import BatchingPolicy
from service.observability.logs import LOGGER
from service.settings import Settings

SIZES = (1, 2, 4, 8)
ROUNDS, ROUND_S = 2, 0.06
"""Each size is timed so often, and at least so long; the best round counts."""
DOUBTS = 4
"""Rounds more in which a larger size must stay ahead: single patches may have had a busy machine,
and what is chosen here is remembered."""
BUDGET_S = 1.5
"""After so many seconds of timed runs no larger size is tried."""
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
    precision = way_of(backend).precision
    more = {
        "provider": provider, "precision": precision, "network_threads": backend.callers + 1,
    }  # fmt: skip
    return settings.model_copy(update=more)


def batch_times(package: ModelPackage, backend: Backend, settings: Settings) -> TimedBatches:
    """What is remembered, else what is measured now."""
    facts = backend.provider, way_of(backend), backend.callers, settings.max_batch_ms
    place = place_of("batches", package, settings.variant, *facts)
    known = _times_of(recall(place))
    if known is not None:
        return known
    patches = package.golden(settings.variant).patches
    most = backend.batch_size
    bench = _Bench(backend, patches)
    times = bench.measured(settings.max_batch_ms)
    if bench.has_room and backend.batch_size == most:  # else another program may have the memory
        remember(place, asdict(times))
    return times


class _Bench:
    """Times a backend in batches of each size."""

    def __init__(self, backend: Backend, patches: Float[np.ndarray, "b c *patch"]) -> None:
        self._backend, self._patches = backend, patches
        self._rates: dict[int, float] = {}
        self._runs: dict[int, float] = {}
        self._spent_s = 0.0
        """On what counts. The first run of a size does not: a GPU's libraries tune themselves."""
        self.has_room = True
        """For all sizes that were tried."""

    def measured(self, most_ms: float) -> TimedBatches:
        """The times of all sizes for which there is time and room."""
        times = TimedBatches(self._rates, self._runs)
        for turn in range(ROUNDS):
            for size in SIZES if not turn else tuple(self._rates):
                if self._is_worth_it(size, most_ms):
                    self._measure(size)
        for _ in range(DOUBTS):
            if (best := times.best(most_ms)) == 1:
                break
            self._measure(1)
            self._measure(best)
        return times

    def _is_worth_it(self, size: int, most_ms: float) -> bool:
        if not self._rates:
            return True
        is_known = self.has_room or size in self._rates
        is_short = self._runs.get(size // 2, 0) <= most_ms
        return is_known and is_short and self._spent_s <= BUDGET_S

    def _measure(self, size: int) -> None:
        backend, patches = self._backend, self._patches
        try:
            if size not in self._rates:
                backend.run(np.ascontiguousarray(np.resize(patches, (size, *patches.shape[1:]))))
            begin = perf_counter()
            rate = patches_a_second(backend, patches, ROUND_S, size)
        except Exception as error:
            if size == 1 or not lacks_memory(error):
                raise
            fields = {"patches": size, "reason": str(error)}
            LOGGER.warning("no room for a batch", extra={"fields": fields})
            self.has_room = False
            return
        self._spent_s += perf_counter() - begin
        self._rates[size] = max(rate, self._rates.get(size, 0.0))
        self._runs[size] = 1000 * backend.callers * size / self._rates[size]


def _times_of(known: Mapping[str, Any]) -> TimedBatches | None:
    try:
        rates, runs = (
            {int(size): float(value) for size, value in known[name].items()}
            for name in ("patches_a_second", "run_ms")
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return TimedBatches(rates, runs) if 1 in rates and rates.keys() == runs.keys() else None
