"""From `bentoml serve` to the first answer; what the import costs, and what an image weighs.

Wall-clock seconds grow with whatever else the machine does; the seconds of CPU and the load beside
them tell by how much. Layers of a container image are counted from what is installed here: the
files of the requirements of bentofile.yaml with all that these need, and the files of a bento. What
the base image weighs is not known here. Usage: python benchmarks/startup.py PACKAGE [--runs 5]
[--json FILE]
"""

import argparse
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml
from packaging.requirements import Requirement

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.result import bar, report
from benchmarks.servers import free_port
from seg.images import Image, encode_image
from seg.model_package import ModelPackage
from service.build import stage

ROOT = Path(__file__).parents[1]
READY_BOUND_S = 5.0
GIVE_UP_S = 60.0
LARGEST = 6
"""Requirements that are named; the others are added up."""
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
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    package = ModelPackage.load(arguments.package.resolve())

    starts = []
    for _ in range(arguments.runs):
        starts.append(start_and_stop(package))
        show(starts[-1])
    imports = [import_once() for _ in range(arguments.runs)]
    layers = [*requirement_layers(), bento_layer(package.path)]
    for each in [*imports, *layers]:
        show(each)
    ready = statistics.median(row["ready_s"] for row in starts)
    what = "median seconds from process start to /readyz 200"
    bars = [bar(what, ready, READY_BOUND_S, at_most=True)]
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


def requirement_layers() -> list[dict[str, Any]]:
    """Sizes of what bentofile.yaml asks for, the largest by name."""
    listed = yaml.safe_load((ROOT / "bentofile.yaml").read_text(encoding="utf-8"))
    sizes: dict[str, int] = {}
    for text in listed["python"]["packages"]:
        add_installed(Requirement(text), sizes)
    ordered = sorted(sizes.items(), key=lambda item: -item[1])
    rest = sum(size for _, size in ordered[LARGEST:])
    shown = [*ordered[:LARGEST], (f"{len(ordered) - LARGEST} others", rest)]
    rows = [{"what": "requirement", "name": name, "mb": size / 1e6} for name, size in shown]
    total = {"what": "layer", "name": "requirements", "mb": sum(sizes.values()) / 1e6}
    return [*rows, total]


def add_installed(wanted: Requirement, sizes: dict[str, int], extra: str = "") -> None:
    """Add the files of a requirement, and of what it needs, where its marker says so."""
    if wanted.marker and not wanted.marker.evaluate({"extra": extra}):
        return
    try:
        found = distribution(wanted.name)
    except PackageNotFoundError:
        raise SystemExit(f"{wanted.name} is not installed: make serve") from None
    name = found.metadata["Name"].lower()
    if name not in sizes:
        files = {found.locate_file(file) for file in found.files or ()}
        sizes[name] = sum(Path(str(f)).stat().st_size for f in files if Path(str(f)).is_file())
        for text in found.requires or ():
            add_installed(Requirement(text), sizes)
    for each in wanted.extras:
        for text in found.requires or ():
            if "extra" in text:
                add_installed(Requirement(text), sizes, each)


def bento_layer(package: Path) -> dict[str, Any]:
    """Size of the code and the package, as a bento has them."""
    with tempfile.TemporaryDirectory() as folder:
        stage(package, Path(folder))
        files = [file for file in Path(folder).rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
    return {"what": "layer", "name": "code and package", "mb": size / 1e6}


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
