"""From `bentoml serve` to the first answer; what the import costs, and what an image weighs.

Wall-clock seconds grow with whatever else the machine does; the seconds of CPU and the load beside
them tell by how much. `--layers FILE` adds what the parts of a container image weigh: layers.json
of deploy/image_drill.sh; with `--runs 0` that alone. Usage: python benchmarks/startup.py PACKAGE
[--runs 5] [--layers FILE] [--json FILE]
"""

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.result import bar, report
from benchmarks.servers import free_port
from seg.images import Image, encode_image
from seg.model_package import ModelPackage

ROOT = Path(__file__).parents[1]
READY_BOUND_S = 5.0
IMAGE_BOUND_MB = 700.0
GIVE_UP_S = 60.0
IMPORT = """
import sys, time
start, cpu = time.perf_counter(), time.process_time()
import service.bento
print(time.perf_counter() - start, time.process_time() - cpu)
print(len(sys.modules), "torch" in sys.modules)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path, help="folder of the model package")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--layers", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    package = ModelPackage.load(arguments.package.resolve())

    starts = []
    for _ in range(arguments.runs):
        starts.append(start_and_stop(package))
        show(starts[-1])
    imports = [import_once() for _ in range(arguments.runs)]
    layers = layers_of(arguments.layers)
    for each in [*imports, *layers]:
        show(each)
    bars = []
    if starts:
        ready = statistics.median(row["ready_s"] for row in starts)
        what = "median seconds from process start to /readyz 200"
        bars.append(bar(what, ready, READY_BOUND_S, at_most=True))
    if layers:
        weighs = sum(row["mb"] for row in layers)
        bars.append(bar("megabytes of an image together", weighs, IMAGE_BOUND_MB, at_most=True))
    rows = [*starts, *imports, *layers]
    report("startup", rows, bars, ("bentoml", "onnxruntime-gpu", "numpy"), arguments.json)
    sys.exit(not all(each["holds"] for each in bars))


def show(row: dict[str, Any]) -> None:
    values = (f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}"
              for name, value in row.items())  # fmt: skip
    print("  ".join(values), flush=True)


def start_and_stop(package: ModelPackage) -> dict[str, Any]:
    """Seconds to /livez, /readyz and a mask, and from SIGTERM to the end; CPU in all; the load."""
    load, before, image = os.getloadavg()[0], cpu_seconds(), drawn_image(package)
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "bentoml", "serve", "--port", url.rpartition(":")[2]]
    environment = {**os.environ, "SEG_PACKAGE": str(package.path), "BENTOML_DO_NOT_TRACK": "True"}
    start = time.perf_counter()
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        alive_s = wait_for(url + "/livez", server) - start
        ready_s = wait_for(url + "/readyz", server) - start
        httpx.post(url + "/segment", content=image, timeout=GIVE_UP_S).raise_for_status()
        answered_s = time.perf_counter() - start
    finally:
        stop = time.perf_counter()
        server.send_signal(signal.SIGTERM)
        server.wait(GIVE_UP_S)
    return {
        "what": "start",
        "alive_s": alive_s,
        "ready_s": ready_s,
        "first_answer_s": answered_s,
        "stop_s": time.perf_counter() - stop,
        "cpu_s": cpu_seconds() - before,
        "load": load,
    }


def drawn_image(package: ModelPackage) -> bytes:
    """Noise of one patch's size."""
    spec = package.card.input
    shape = (len(spec.channels), *spec.patch)
    noise = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    return encode_image(Image(noise), ".tif" if spec.dims == 2 else ".nii.gz")


def import_once() -> dict[str, Any]:
    """Seconds that a fresh process imports the service for."""
    told = subprocess.run(
        [sys.executable, "-c", IMPORT], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    return {
        "what": "import service.bento",
        "seconds": float(told[0]),
        "cpu_s": float(told[1]),
        "modules": int(told[2]),
        "torch": told[3] == "True",
    }


def layers_of(file: Path | None) -> list[dict[str, Any]]:
    """Sizes of an image's parts, as the drill that built it has written them."""
    if file is None:
        return []
    sizes = json.loads(file.read_text(encoding="utf-8"))
    return [{"what": "layer", "name": name, "mb": size} for name, size in sizes.items()]


def cpu_seconds() -> float:
    """CPU that ended children have used."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def wait_for(url: str, server: subprocess.Popen[bytes]) -> float:
    """The moment at which ``url`` answers 200."""
    deadline = time.perf_counter() + GIVE_UP_S
    while time.perf_counter() < deadline and server.poll() is None:
        try:
            if httpx.get(url, timeout=1).status_code == 200:
                return time.perf_counter()
        except httpx.HTTPError:
            pass
        time.sleep(0.01)
    raise SystemExit(f"{url} did not answer 200 within {GIVE_UP_S:g} s")


if __name__ == "__main__":
    main()
