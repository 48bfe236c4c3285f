#!/bin/sh
# The first ten minutes with a card: what there is, whether the GPU path does what it promises, how
# fast it is. Files JSON with card, driver and versions; a part that fails does not end the rest.
#
# Usage: deploy/gpu_day.sh OUT [--device cpu --small]     (the latter rehearses it without a card)
set -u
out=${1:?name a folder for the results}
shift
cd "$(dirname "$0")/.." || exit 1
mkdir -p "$out"
python=${PYTHON:-python}
failed=0

if command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=name,uuid,driver_version,memory.total,compute_cap,mig.mode.current \
        --format=csv >"$out/card.csv" || failed=1
fi
"$python" - >"$out/machine.json" <<'PYTHON' || failed=1
import json, platform
from importlib.metadata import distributions
from seg.cuda_driver import cards, driver_version
names = ("torch", "onnxruntime-gpu", "nvidia-cudnn-cu13", "nvidia-cublas", "lightning", "numpy")
versions = {d.name: d.version for d in distributions() if d.name in names}
print(json.dumps({
    "machine": platform.platform(), "python": platform.python_version(),
    "driver_cuda": driver_version(), "cards": [vars(card) for card in cards()],
    "versions": versions,
}, indent=2))
PYTHON
timeout "${CHECKS_S:-180}" "$python" benchmarks/gpu_checks.py "$@" --json "$out/checks.json" || failed=1
timeout "${SPEED_S:-400}" "$python" benchmarks/gpu.py "$@" --budget "${BUDGET_S:-330}" \
    --seconds "${SECONDS_EACH:-5}" --json "$out/speed.json" || failed=1
echo "results are in $out"
exit $failed
