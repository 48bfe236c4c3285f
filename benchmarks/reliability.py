"""What happens when things go wrong, on services and trainings that really run.

Each drill is run by its name; what was held and what was not stands in docs/reliability.md.
Usage: python benchmarks/reliability.py [--only DRILL ...] [--uploads N] [--kills N] [--seed N]
    [--json FOLDER]
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.drills import (
    attacks,
    clients,
    clinic,
    files,
    key_holder,
    kills,
    limits,
    outages,
    proxies,
    training,
)
from benchmarks.drills.drill import Drill
from benchmarks.result import show, write

LIBRARIES = ("bentoml", "uvicorn", "starlette", "onnxruntime-gpu", "lightning")

DRILLS: dict[str, Callable[[Drill], None]] = {
    "worker_killed": outages.worker_killed,
    "killed_behind_a_proxy": proxies.killed_behind_a_proxy,
    "killed_uploads": kills.killed_uploads,
    "stopped": outages.stopped,
    "hanging": outages.hanging,
    "two_services": outages.two_services,
    "clock_jumps": outages.clock_jumps,
    "limits": limits.limits,
    "attacks": attacks.attacks,
    "key_holder": key_holder.key_holder,
    "crowd": clients.crowd,
    "slow_loris": clients.slow_loris,
    "memory": clients.memory,
    "fuzzed": clients.fuzzed,
    "disk_full_uploads": files.disk_full_uploads,
    "disk_full": files.disk_full,
    "altered_package": files.altered_package,
    "clinic_service_killed": clinic.service_killed,
    "clinic_pacs_away": clinic.pacs_away,
    "clinic_network_cut": clinic.network_cut,
    "clinic_training_ordered": clinic.training_ordered,
    "killed_training": training.killed_training,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=DRILLS, default=list(DRILLS))
    parser.add_argument("--uploads", type=int, default=100_000, help="of the fuzzed ones")
    parser.add_argument("--kills", type=int, default=20, help="of the killed training")
    parser.add_argument("--seed", type=int, default=0, help="of moments; the first fuzzed upload")
    parser.add_argument("--json", type=Path, help="folder that gets a file for each drill")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no server is left behind
    all_hold = True
    for name in arguments.only:
        with tempfile.TemporaryDirectory(prefix="drill-") as folder:
            drill = Drill(name, Path(folder), arguments.uploads, arguments.kills, arguments.seed)
            DRILLS[name](drill)
        show(drill.bars)
        if arguments.json:
            arguments.json.mkdir(parents=True, exist_ok=True)
            file = arguments.json / f"{name}.json"
            write(name, drill.rows, drill.bars, LIBRARIES, file)
        all_hold &= all(each["holds"] for each in drill.bars)
    sys.exit(not all_hold)


if __name__ == "__main__":
    main()
