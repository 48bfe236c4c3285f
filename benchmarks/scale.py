"""What many cases, classes, voxels and requests cost: seconds of CPU and memory, and open files.

Volumes are drawn sparse, so that 1,000 of them take little of the disk: a few voxels of organs in
zeros. Each row is a process of its own. ``cases``: the look at a dataset, its fingerprint, the
cache and some training steps; ``a large case``: one volume of 512 x 512 x 512; ``classes`` and
``voxels``: a volume that is resampled, through a network that costs nothing; ``requests``: one
after the other through the service's own way, in one process.
Rows that the JSON has already are not measured again, so that it goes on where it was stopped.
Usage: python benchmarks/scale.py [--cases 125 250 500 1000] [--large] [--json FILE] [--plot FILE]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.result import bar, forget_peak, peak_mib, show, write

EDGE, LARGE, ORGAN = 64, 512, 16
ORGANS = 2
CLASSES, SHAPE = (13, 26, 52, 104), (60, 192, 192)
VOXELS = ((60, 192, 192), (120, 192, 192), (240, 192, 192), (480, 192, 192))
REQUESTS = (250, 500, 1000, 2000)
PATCH = (32, 96, 96)
STEPS = 20
LIBRARIES = ("numpy", "torch", "onnxruntime-gpu")
GROWTH_MIB, FILES = 150, 120
"""More memory for eight times the cases, and open files of a process that trains."""
STRAIGHT = 1.25
"""Times as much a case for the most cases as for half of them, where the curve is a line."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, nargs="*", default=[125, 250, 500, 1000])
    parser.add_argument("--large", action="store_true", help="also a volume of 512³")
    parser.add_argument("--only", choices=["cases", "classes", "voxels", "requests"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="a picture of the curves, SVG or PNG")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(CHILDREN[options.child[0]](json.loads(options.child[1]))))
        return
    asked = {
        "cases": [{"cases": n, "edge": EDGE} for n in options.cases],
        "classes": [{"classes": n, "shape": SHAPE} for n in CLASSES],
        "voxels": [{"classes": 20, "shape": shape} for shape in VOXELS],
        "requests": [{"requests": n} for n in REQUESTS],
    }
    if options.large:
        asked["cases"].append({"cases": 2, "edge": LARGE})
    known = known_rows(options.json)
    rows = []
    for axis, works in asked.items():
        for work in works:
            row = {"axis": axis, **json.loads(json.dumps(work))}
            found = next((each for each in known if row.items() <= each.items()), None)
            if found is None and options.only in (None, axis):
                found = row | in_a_process(axis, work)
                print(found, flush=True)
            rows += [found] if found else []
            if options.json:
                later = [each for each in known if each not in rows]
                write("scale", rows + later, list(bars(rows + later)), LIBRARIES, options.json)
    show(bars(rows))
    if options.plot:
        plot(rows, options.plot)


def known_rows(file: Path | None) -> list[dict]:
    if file is None or not file.is_file():
        return []
    return json.loads(file.read_text(encoding="utf-8"))["rows"]


def in_a_process(axis: str, work: dict) -> dict:
    command = [sys.executable, __file__, "--child", axis, json.dumps(work)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


class Stages:
    """CPU seconds of stages, of this process and of those that it has started."""

    def __init__(self) -> None:
        self.found: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str):
        """What the block takes is found under the name."""
        before = self._cpu()
        yield
        self.found[f"{name}_cpu_s"] = round(self._cpu() - before, 2)

    @staticmethod
    def _cpu() -> float:
        ours = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(each.ru_utime + each.ru_stime for each in ours)


def many_cases(work: dict) -> dict:
    """Look, cache and steps of a dataset."""
    import os

    import torch

    from training.dataset import check_and_measure, look_into
    from training.learning.trainer import train
    from training.planning.rules import make_plan
    from training.run.clock import Clock
    from training.run.data_record import DataRecord
    from training.run.device import find_device
    from training.samples.augmentation import Augmentation
    from training.samples.patch_batches import PatchBatches
    from training.samples.prepared_cases import prepare_cases

    stages = Stages()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = scratch
        folder = draw_dataset(Path(scratch) / "data", work["cases"], work["edge"])
        begun = peak_mib()
        with stages.stage("look"):
            dataset, _ = look_into(folder)
            _, fingerprint = check_and_measure(dataset)
        with stages.stage("record"):
            DataRecord.of(dataset).write(Path(scratch) / "data.json")
        plan = make_plan(
            fingerprint, dataset.channels, "cpu", minutes=1, dataset="t", data="t",
            network="resunet-xs", patch=(32, 32, 32), batch_size=2, steps=STEPS,
        )  # fmt: skip
        with stages.stage("cache"):
            cases = prepare_cases(dataset, plan, Path(scratch) / "cache")
        source = PatchBatches(cases, plan, Augmentation("light", plan.patch))
        with stages.stage("batches"):
            for number in range(3 * STEPS):
                source.batch(number)
        files = psutil.Process().num_fds()
        on_disk = sum(1 for file in (Path(scratch) / "cache").rglob("*") if file.is_file())
        torch.set_num_threads(1)
        with stages.stage("steps"):
            clock = Clock(plan.minutes, plan.steps)
            train(plan, cases, dataset, find_device(), Path(scratch), clock)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {
        **stages.found,
        "before_mib": round(begun),
        "peak_mib": round(peak_mib()),
        "process_mib": round(children),
        "open_files": files,
        "files_a_case": on_disk / len(cases),
    }


def draw_dataset(folder: Path, cases: int, edge: int) -> Path:
    """nnU-Net's raw format; what is 0 takes no place on the disk."""
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    names = ["background", *(f"organ {number}" for number in range(1, ORGANS + 1))]
    listed = {
        "name": "sparse",
        "channel_names": {"0": "CT"},
        "labels": {name: number for number, name in enumerate(names)},
        "numTraining": cases,
        "file_ending": ".nii",
    }
    (folder / "dataset.json").write_text(json.dumps(listed), encoding="utf-8")
    for number in range(cases):
        rng = np.random.default_rng(number)
        where = tuple(slice(at, at + ORGAN) for at in rng.integers(0, edge - ORGAN, 3))
        organ = rng.integers(50, 200, (ORGAN,) * 3)
        name = f"case{number:04d}"
        draw(folder / "imagesTr" / f"{name}_0000.nii", edge, np.int16, where, organ)
        draw(folder / "labelsTr" / f"{name}.nii", edge, np.uint8, where, 1 + (organ > 120))
    return folder


def draw(path: Path, edge: int, kind: type, where: tuple[slice, ...], values: np.ndarray) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(kind)
    header.set_data_shape((edge,) * 3)
    header.set_sform(np.eye(4), 1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path.write_bytes(header.binaryblock + bytes(4))
    voxels = np.memmap(path, kind, "r+", 352, (edge,) * 3)
    voxels[where] = values
    voxels.flush()


def a_volume(work: dict) -> dict:
    """A volume of organs that is segmented on another grid and brought back."""
    from scipy import ndimage

    from benchmarks.small_package import write_package
    from seg.images import Image
    from seg.inference import Predictor

    shape = tuple(work["shape"])
    noise = np.random.default_rng(0).normal(size=tuple(n // 4 for n in shape))
    smooth = np.kron(ndimage.gaussian_filter(noise, 2), np.ones((4, 4, 4)))
    voxels = (40 * smooth / smooth.std() + 128).clip(0, 255).astype(np.uint8)
    stages = Stages()
    with tempfile.TemporaryDirectory() as folder:
        package = write_package(Path(folder) / "p", PATCH, 1, work["classes"], (2.0, 2.0, 2.0))
        predictor = Predictor(package)
        image = Image(voxels[np.newaxis], spacing=(1.0, 1.0, 1.0))
        del noise, smooth
        forget_peak()
        before = peak_mib()
        with stages.stage("segment"):
            predictor.segment(image)
    return {**stages.found, "before_mib": round(before), "peak_mib": round(peak_mib())}


def many_requests(work: dict) -> dict:
    """One after the other; a service that keeps something of each would grow."""
    from benchmarks.request_cpu import Requests

    stages = Stages()
    with tempfile.TemporaryDirectory() as folder:
        made = Requests(Path(folder))
        picture = made.pictures["one window"]
        for _ in range(20):
            made.answered(picture)
        before = peak_mib()
        with stages.stage("requests"):
            for _ in range(work["requests"]):
                made.answered(picture)
        files = psutil.Process().num_fds()
    found = {"before_mib": round(before, 1), "peak_mib": round(peak_mib(), 1), "open_files": files}
    return {**stages.found, **found}


CHILDREN = {
    "cases": many_cases,
    "classes": a_volume,
    "voxels": a_volume,
    "requests": many_requests,
}


def bars(rows):
    cases = [row for row in rows if row["axis"] == "cases" and row["edge"] == EDGE]
    if len(cases) > 1:
        grown = cases[-1]["peak_mib"] - cases[0]["peak_mib"]
        yield bar("MiB more for the most cases", grown, GROWTH_MIB, at_most=True)
        yield bar("open files of a training", cases[-1]["open_files"], FILES, at_most=True)
        yield bar("files a case in the cache", cases[-1]["files_a_case"], 5, at_most=True)
        for stage in ("look", "record", "cache"):
            yield straight(f"{stage} of cases", cases, f"{stage}_cpu_s", "cases")
    for axis, stage in (("classes", "segment"), ("voxels", "segment"), ("requests", "requests")):
        chosen = [{**row, "voxels": voxels_of(row)} for row in rows if row["axis"] == axis]
        if len(chosen) > 1:
            yield straight(f"{axis}", chosen, f"{stage}_cpu_s", axis)


def straight(what: str, rows, stage: str, axis: str):
    """Cost of the second half over that of the first, each for as much more."""
    low, high = rows[-2], rows[-1]
    ratio = (high[stage] / high[axis]) / (low[stage] / low[axis])
    return bar(f"{what}: CPU for each, the most over half as many", ratio, STRAIGHT, at_most=True)


def voxels_of(row) -> int:
    return int(np.prod(row.get("shape", 0)))


def plot(rows, target: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    panels = figure.subplots(2, 4)
    for column, (axis, stages) in enumerate(
        {
            "cases": ("look_cpu_s", "cache_cpu_s", "batches_cpu_s"),
            "classes": ("segment_cpu_s",),
            "voxels": ("segment_cpu_s",),
            "requests": ("requests_cpu_s",),
        }.items()
    ):
        chosen = [row for row in rows if row["axis"] == axis and row.get("edge", EDGE) == EDGE]
        at = [voxels_of(row) / 1e6 if axis == "voxels" else row[axis] for row in chosen]
        for stage in stages:
            panels[0, column].plot(
                at,
                [row[stage] for row in chosen],
                "o-",
                label=stage.removesuffix("_cpu_s"),
                clip_on=False,
            )
        panels[1, column].plot(at, [row["peak_mib"] for row in chosen], "o-", clip_on=False)
        panels[1, column].set(xlabel="million voxels" if axis == "voxels" else axis, xlim=(0, None))
        for row in panels[:, column]:
            row.set_ylim(0, None)
        panels[0, column].set_xlim(0, None)
        panels[0, column].legend(frameon=False, fontsize="small")
    panels[0, 0].set_ylabel("CPU seconds")
    panels[1, 0].set_ylabel("peak MiB")
    figure.savefig(target, metadata={"Date": None} if target.suffix == ".svg" else None)


if __name__ == "__main__":
    main()
