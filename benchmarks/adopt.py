"""An adopted model against nnU-Net's own prediction: same masks, how fast, in how much memory.

Both segment the same images from files to files, one after the other on the same cores, as a user
would start them. Memory is that of all processes of a command together (proportional set size).
What runs the network fastest is found out once a machine; this first run is measured by itself.
With ``--back`` nnU-Net then loads what ``training.export --to nnunet`` makes of the package.

Usage: python benchmarks/adopt.py RESULTS IMAGES --peer PYTHON [--back] [--json FILE]
RESULTS is a results folder of nnU-Net whose images are in the files' own axes (no transposition).
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel import Nifti1Image
from nibabel import save as save_nifti
from tifffile import imwrite as write_tiff

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.result import bar, report
from seg.images import read_channels, read_mask
from seg.inference import load_backend
from seg.machine import cores
from seg.model_package import ModelPackage
from training.adopt import main as adopt
from training.export import main as export

EQUAL, LOGIT_ERROR, SPEED, MEMORY = 0.9999, 1e-4, 2.0, 0.5
LOGITS = Path(__file__).parent / "peers" / "nnunet" / "logits.py"
SAMPLE_S = 0.1


@dataclass(frozen=True)
class Cost:
    """Of one command."""

    seconds: float
    peak_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("results", type=Path)
    add("images", type=Path, help="folder in nnU-Net's raw format (CASE_0000.tif)")
    add("--peer", type=Path, required=True, help="Python of an environment with nnU-Net")
    add("--fold", default="all")
    add("--package", type=Path, help="RESULTS, adopted before")
    add("--cases", type=int, help="take only so many")
    add("--mirrored-cases", type=int, help="so many where mirroring is on; 0 leaves it out")
    add("--mirrored-size", type=int, help="of these only the middle, so many voxels in a plane")
    add("--back", action="store_true", help="also the way back")
    add("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="adopt-") as folder:
        work = Path(folder)
        package = ModelPackage.load(options.package) if options.package else adopted(options, work)
        worst = error_of_logits(options, package, work)
        print(f"{package.card.name}: largest error of a logit {worst:.1e}", flush=True)
        for mirror, cases in ((False, options.cases), (True, options.mirrored_cases)):
            if cases != 0:
                size = options.mirrored_size if mirror else None
                images = some_of(options.images, work / f"images-{mirror}", cases, size)
                rows.append(compared(options, package, images, work, mirror=mirror))
                rows[-1]["largest_error_of_a_logit"] = worst
                print_row(rows[-1])
        if options.back:
            rows[0] |= went_back(options, package, work)
    report(
        "adopt", rows, bars_of(rows), ("seg", "torch", "onnxruntime-gpu", "openvino"), options.json
    )


def some_of(images: Path, target: Path, cases: int | None, size: int | None) -> Path:
    files = sorted(images.iterdir())
    names = sorted({file.name.rsplit("_", 1)[0] for file in files})[:cases]
    target.mkdir()
    for file in files:
        if file.name.rsplit("_", 1)[0] in names:
            copy_middle(file, target / file.name, size)
    return target


def copy_middle(file: Path, target: Path, size: int | None) -> None:
    """Copy a file of one channel, or of its last two axes the middle only."""
    if size is None:
        shutil.copy(file, target)
        return
    dims = 3 if file.name.endswith((".nii", ".nii.gz")) else 2
    image = read_channels([file], dims=dims)
    starts = [max(0, (n - size) // 2) for n in image.spatial_shape[-2:]]
    middle = image.array[0][(..., *(slice(start, start + size) for start in starts))]
    if dims == 2:
        write_tiff(target, middle)
    else:
        save_nifti(Nifti1Image(middle.T, np.diag([*image.spacing[::-1], 1.0])), target)


def adopted(options: argparse.Namespace, work: Path) -> ModelPackage:
    arguments = ["nnunet", options.results, "-o", work / "package", "--folds", options.fold]
    if adopt([str(each) for each in [*arguments, "--images", options.images]]) != 0:
        raise SystemExit("the folder could not be adopted")
    return ModelPackage.load(work / "package")


def error_of_logits(options: argparse.Namespace, package: ModelPackage, work: Path) -> float:
    patches = package.golden().patches
    np.savez(work / "patches.npz", patches=patches)
    command = [options.peer, LOGITS, options.results, work / "patches.npz", work / "logits.npz"]
    run([*command, options.fold], work)
    with np.load(work / "logits.npz") as arrays:
        theirs = arrays["logits"]
    backend = load_backend(package, provider="cpu")
    ours = np.concatenate([backend.run(patch[None]) for patch in patches])
    return float(np.abs(ours - theirs).max())


def compared(
    options: argparse.Namespace, package: ModelPackage, images: Path, work: Path, *, mirror: bool
) -> dict[str, Any]:
    ours, theirs = work / f"ours-{mirror}", work / f"theirs-{mirror}"
    row: dict[str, Any] = {"model": package.card.name, "mirror": mirror}
    if not mirror:
        first = segment_here(package, images, work / "first", work, mirror=False)
        row |= {"first_run_seconds": first.seconds, "first_run_peak_mib": first.peak_mib}
    cost = segment_here(package, images, ours, work, mirror=mirror)
    row["runtime"] = re.search(r"the network runs on (\S+)", (work / "log").read_text())[1]
    model = ("-m", options.results, "-f", options.fold)
    their_cost = segment_there(options.peer, model, images, theirs, work, mirror=mirror)
    return row | {
        **agreement(ours, theirs, package.card.input.dims),
        "seconds": cost.seconds,
        "nnunet_seconds": their_cost.seconds,
        "times_faster": their_cost.seconds / cost.seconds,
        "peak_mib": cost.peak_mib,
        "nnunet_peak_mib": their_cost.peak_mib,
        "share_of_memory": max(cost.peak_mib, row.get("first_run_peak_mib", 0))
        / their_cost.peak_mib,
        "threads": cores(),
    }


def segment_here(
    package: ModelPackage, images: Path, target: Path, work: Path, *, mirror: bool
) -> Cost:
    ending = "tiff" if package.card.input.dims == 2 else "nifti"
    command = [sys.executable, "-m", "seg.predict", package.path, images, "--out", target]
    command += ["--format", ending, "--threads", cores(), *["--mirror"] * mirror]
    return run(command, work)


def segment_there(
    peer: Path, model: Sequence[Any], images: Path, target: Path, work: Path, *, mirror: bool
) -> Cost:
    command = [peer.parent / "nnUNetv2_predict_from_modelfolder", *model, "-i", images]
    command += ["-o", target, "-device", "cpu", "-npp", "1", "-nps", "1"]
    return run([*command, *["--disable_tta"] * (not mirror)], work)


def went_back(options: argparse.Namespace, package: ModelPackage, work: Path) -> dict[str, Any]:
    """What nnU-Net makes of the exported folder, beside our masks."""
    back, target = work / "back", work / "masks-back"
    if export([str(package.path), "-o", str(back), "--to", "nnunet"]) != 0:
        raise SystemExit("the package could not be exported")
    model = ("-m", back, "-f", "0")
    segment_there(options.peer, model, work / "images-False", target, work, mirror=False)
    found = agreement(work / "ours-False", target, package.card.input.dims)
    return {f"back_{name}": value for name, value in found.items()}


def agreement(ours: Path, theirs: Path, dims: int) -> dict[str, Any]:
    shares, voxels, foreground = [], [], 0
    for file in sorted(theirs.iterdir()):
        if file.suffix in (".json", ".pkl"):
            continue
        stem = file.name.split(".", 1)[0]
        mine = next(p for p in ours.iterdir() if p.name.startswith(stem) and p.suffix != ".csv")
        a, b = (read_mask(each, dims=dims).array for each in (mine, file))
        shares.append(float((a == b).mean()))
        voxels.append(b.size)
        foreground += int(np.count_nonzero(b))
    return {
        "cases": len(shares),
        "voxels": sum(voxels),
        "foreground": foreground / sum(voxels),
        "equal": float(np.average(shares, weights=voxels)),
        "equal_in_the_worst_case": min(shares),
    }


def run(command: Sequence[Any], work: Path) -> Cost:
    """Run to the end; how long it took and how much memory all its processes had at a time."""
    environment = os.environ | {
        "OMP_NUM_THREADS": str(cores()),
        "nnUNet_def_n_proc": str(cores()),
        "XDG_CACHE_HOME": str(work / "cache"),
        "PYTHONPATH": str(Path.cwd()) if command[0] == sys.executable else "",
        **{f"nnUNet_{each}": str(work) for each in ("raw", "preprocessed", "results")},
    }
    start, peak, stop = time.perf_counter(), [0.0], threading.Event()
    with (work / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [str(part) for part in command], stdout=log, stderr=log, env=environment
        )

        def watch() -> None:
            while not stop.wait(SAMPLE_S):
                peak[0] = max(peak[0], sum(map(pss_mib, family(process.pid))))

        watcher = threading.Thread(target=watch)
        watcher.start()
        code = process.wait()
        seconds = time.perf_counter() - start
        stop.set()
        watcher.join()
    if code:
        raise SystemExit((work / "log").read_text(encoding="utf-8")[-2000:])
    return Cost(seconds, peak[0])


def family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text(encoding="ascii").split()]
            except OSError:
                continue
    return found


def pss_mib(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024


def print_row(row: dict[str, Any]) -> None:
    print(
        f"{row['model']}, {row['cases']} cases, mirroring {'on' if row['mirror'] else 'off'}: "
        f"{row['equal']:.4%} equal ({row['foreground']:.1%} foreground), "
        f"{row['seconds']:.1f} s against {row['nnunet_seconds']:.1f} s "
        f"({row['times_faster']:.1f} times), {row['peak_mib']:.0f} MiB against "
        f"{row['nnunet_peak_mib']:.0f} MiB",
        flush=True,
    )


def bars_of(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    name = rows[0]["model"]
    slowest = min(row["times_faster"] for row in rows)
    largest = max(row["share_of_memory"] for row in rows)
    logits = max(row["largest_error_of_a_logit"] for row in rows)
    equal = min(row["equal"] for row in rows)
    back = [row["back_equal"] for row in rows if "back_equal" in row]
    return [
        *(
            bar(f"{name}: share of equal voxels, back in nnU-Net", each, EQUAL, at_most=False)
            for each in back
        ),
        bar(f"{name}: share of equal voxels", equal, EQUAL, at_most=False),
        bar(f"{name}: largest error of a logit", logits, LOGIT_ERROR, at_most=True),
        bar(f"{name}: times faster", slowest, SPEED, at_most=False),
        bar(f"{name}: share of memory", largest, MEMORY, at_most=True),
    ]


if __name__ == "__main__":
    main()
