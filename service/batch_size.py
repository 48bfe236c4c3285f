"""How many patches a run gets, and how long it waits for them: measured on this machine.

Asked once for a network, a provider and a machine, and then remembered.
"""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from time import perf_counter

import numpy as np
from jaxtyping import Float

from seg.files import replace_file
from seg.inference import Backend
from seg.inference.backends import cache_folder
from seg.inference.fastest import LIBRARIES, processor_name
from seg.model_package import ModelPackage
from seg.version import version_of
from service.batching import BatchingPolicy
from service.logs import LOGGER
from service.settings import Settings

SIZES = (1, 2, 4, 8)
ROUNDS, ROUND_S = 2, 0.06
"""Each size is timed so often, and at least so long; the best round counts."""
BUDGET_S = 1.5
"""After so many seconds no larger size is tried."""
GAIN = 1.1
"""A larger batch must be so much faster a patch: it makes all its requests wait for the last."""
WAIT_SHARE = 0.05
"""Of a run's time, that a device which is free waits for its batch to fill."""


@dataclass(frozen=True)
class BatchTimes:
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
) -> tuple[BatchingPolicy, BatchTimes]:
    """The policy for a package here, and the times that it rests on; none where it is forced."""
    policy = BatchingPolicy.of(backend, settings.batching, settings.batch_size)
    times = BatchTimes()
    if settings.batching == "auto" and settings.batch_size is None:
        times = batch_times(package, backend, settings)
        policy = replace(policy, batch_size=times.best(settings.max_batch_ms))
    wait_ms = settings.batch_wait_ms
    if wait_ms is None:
        known = times.run_ms.get(policy.batch_size, 0.0) if policy.batch_size > 1 else 0.0
        wait_ms = WAIT_SHARE * known
    return replace(policy, wait_s=wait_ms / 1000), times


def batch_times(package: ModelPackage, backend: Backend, settings: Settings) -> BatchTimes:
    """What is remembered, else what is measured now."""
    file = cache_folder() / "batches" / f"{_key(package, backend, settings)}.json"
    known = _remembered(file)
    if known is not None:
        return known
    patches = package.golden(settings.variant).patches
    times = _measured(backend, patches, settings.max_batch_ms)
    content = {"patches_a_second": times.patches_a_second, "run_ms": times.run_ms}
    try:
        replace_file(file, (json.dumps(content, indent=2) + "\n").encode())
    except OSError:  # a folder that cannot be written costs the time of asking again, no more
        LOGGER.info("batch times are not kept", extra={"fields": {"folder": str(file.parent)}})
    return times


def _measured(
    backend: Backend, patches: Float[np.ndarray, "b c *patch"], most_ms: float
) -> BatchTimes:
    rates: dict[int, float] = {}
    runs: dict[int, float] = {}
    begin = perf_counter()
    with ThreadPoolExecutor(backend.callers) as pool:
        for turn in range(ROUNDS):
            for size in SIZES if not turn else tuple(rates):
                if rates and (
                    perf_counter() - begin > BUDGET_S or runs.get(size // 2, 0) > most_ms
                ):
                    continue
                batch = np.ascontiguousarray(np.resize(patches, (size, *patches.shape[1:])))
                rate = _rate(backend, batch, pool)
                rates[size] = max(rate, rates.get(size, 0.0))
                runs[size] = 1000 * backend.callers * size / rates[size]
    return BatchTimes(rates, runs)


def _rate(
    backend: Backend, batch: Float[np.ndarray, "b c *patch"], pool: ThreadPoolExecutor
) -> float:
    """Patches a second."""
    batches = [batch] * backend.callers
    list(pool.map(backend.run, batches))  # libraries tune themselves to a size when they meet it
    done, begin = 0, perf_counter()
    while not done or perf_counter() - begin < ROUND_S:
        list(pool.map(backend.run, batches))
        done += len(batches) * len(batch)
    return done / (perf_counter() - begin)


def _key(package: ModelPackage, backend: Backend, settings: Settings) -> str:
    card = package.card
    facts = [
        *(card.variant(name).sha256 for name in card.members(settings.variant)),
        card.golden_sha256,
        backend.provider,
        str(backend.callers),
        processor_name(),
        *(version_of(name) for name in LIBRARIES),
        str(settings.max_batch_ms),
    ]
    return sha256("\n".join(facts).encode()).hexdigest()[:32]


def _remembered(file: Path) -> BatchTimes | None:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        rates, runs = (
            {int(size): float(value) for size, value in known[name].items()}
            for name in ("patches_a_second", "run_ms")
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return BatchTimes(rates, runs) if 1 in rates and rates.keys() == runs.keys() else None
