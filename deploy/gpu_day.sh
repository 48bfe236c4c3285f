#!/bin/sh
# The first ten minutes with a card: what there is, whether the GPU path does what it promises, from a
# training that is broken off and resumed to a mask, and how fast it is. Files JSON with card, driver
# and versions; a part that fails does not end the rest, and each has a limit of its own.
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
timeout "${CHECKS_S:-130}" "$python" benchmarks/gpu_checks.py "$@" --json "$out/checks.json" || failed=1

# A training on the card, broken off, resumed, its package proven there, and a mask by it.
# No other part asks Lightning, onnxruntime and the card together.
part() {
    name=$1
    shift
    begun=$(date +%s)
    "$@" >"$out/$name.log" 2>&1
    status=$?
    seconds=$(($(date +%s) - begun))
    echo "$name: status $status after $seconds s"
    printf '%s{"what": "%s", "status": %d, "seconds": %d}' "$comma" "$name" "$status" "$seconds" \
        >>"$out/whole.json"
    comma=', '
    return $status
}
provider=cuda
case " $* " in *" cpu "*) provider=cpu CUDA_VISIBLE_DEVICES= && export CUDA_VISIBLE_DEVICES ;; esac
rm -rf "$out/run" "$out/masks" "$out/cells"
comma=''
printf '[' >"$out/whole.json"
"$python" -c "import sys; from pathlib import Path; from data.phantom import draw
draw(Path(sys.argv[1]), cases=8)" "$out/cells" || failed=1
# stopped as a cluster stops it, once it has written a checkpoint
stopped() {
    "$python" -m training.fit "$out/cells" --minutes "${MINUTES:-1}" --out "$out/run" &
    training=$!
    while kill -0 $training 2>/dev/null && ! [ -e "$out/run/checkpoint.ckpt" ]; do sleep 0.2; done
    kill -TERM $training 2>/dev/null
    wait $training
    [ -e "$out/run/checkpoint.ckpt" ]
}
part stopped stopped || failed=1
part resumed timeout "${WHOLE_S:-110}" "$python" -m training.fit --resume "$out/run" || failed=1
part mask timeout 40 "$python" -m seg.predict "$out/run/package" "$out/cells/imagesTs" --out "$out/masks" \
    --provider "$provider" || failed=1
printf ']\n' >>"$out/whole.json"

timeout "${SPEED_S:-230}" "$python" benchmarks/gpu.py "$@" --budget "${BUDGET_S:-200}" \
    --seconds "${SECONDS_EACH:-4}" --json "$out/speed.json" || failed=1
echo "results are in $out"
exit $failed
