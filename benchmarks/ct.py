"""One CT from file to file: what it takes beside its network alone, and how much memory.

A body of 104 organs is drawn, 512 x 512 x 400 voxels of 0.75 x 0.75 x 1.5 mm, and segmented by a
package that resamples it to 3 mm or 1.5 mm. Its network costs what ``resunet-s`` does, and says
what a trained one would: sure of an organ within it, unsure along its border. Then a folder of
small cases: how much of the time the network was at work. CPU seconds, with the wall's beside them.
With --around the file goes through a network that says the same and costs next to nothing, and the
costs are added up: the same figures in a third of the time.
Usage: python benchmarks/ct.py [--spacing 3] [--size 400 512 512] [--cases 50] [--around]
[--json FILE]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
import onnx
from onnx import helper, numpy_helper
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.result import bar, peak_mib, report
from benchmarks.small_package import write_package
from seg.model_package import ModelPackage

CLASSES, PATCH = 104, (64, 64, 64)
VOXEL = (1.5, 0.75, 0.75)
SURE, STEEP = 12.0, 3.0
"""Of the logits: how far apart they come, and how fast around a border."""
TIMES, MOST_MIB = 1.6, 3 * 1024
SMALL = (40, 96, 96)
MOST_WINDOWS = 10
"""Of the network alone, a caller."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spacing", type=float, nargs="+", default=[3.0], help="mm")
    parser.add_argument("--size", type=int, nargs=3, default=(400, 512, 512), metavar="N")
    parser.add_argument("--cases", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--around", action="store_true", help="the network's time is added up")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(*options.child, options.threads)
        return
    rows, bars = [], []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        network = folder / "body.onnx"
        onnx.save(network_of_a_body(), network)
        draw(folder / "ct.nii.gz", tuple(options.size))
        cheap = folder / "cheap.onnx"
        onnx.save(network_that_only_says(), cheap)
        for mm in options.spacing:
            package = packaged(folder / f"{mm:g}mm", network, mm)
            row = {"size": list(options.size), "mm": mm, "classes": CLASSES}
            row |= measured("network", package, folder, options.threads)
            if options.around:
                package = packaged(folder / f"{mm:g}mm-cheap", cheap, mm)
                said = measured("network", package, folder, options.threads)
                row["cheap_cpu_s"] = said["network_cpu_s"]
            row |= measured("file", package, folder, options.threads)
            if options.around:
                row["around_cpu_s"] = row["file_cpu_s"] - row["cheap_cpu_s"]
                row["file_cpu_s"] = row["around_cpu_s"] + row["network_cpu_s"]
            rows.append(row)
            ratio = row["file_cpu_s"] / row["network_cpu_s"]
            print(row, flush=True)
            what = f"{mm:g} mm"
            bars += [
                bar(f"{what}: CPU over the network's own", ratio, TIMES, at_most=True),
                bar(f"{what}: MiB at the peak", row["file_mib"], MOST_MIB, at_most=True),
            ]
        if options.cases:
            row, own = of_a_folder(folder, network, options)
            rows.append(row)
            bars += own
    report("ct", rows, bars, ("numpy", "onnxruntime-gpu", "openvino"), options.json)


def of_a_folder(folder: Path, network: Path, options: argparse.Namespace):
    """Many cases by one command: seconds beside what they take when they are run one by one."""
    cases = folder / "cases"
    cases.mkdir()
    draw(cases / "0.nii.gz", SMALL)
    for number in range(1, options.cases):
        (cases / f"{number}.nii.gz").hardlink_to(cases / "0.nii.gz")
    package = packaged(folder / "own", network, 1.5)
    found = {
        **measured("network", package, cases, options.threads, "0.nii.gz"),
        **measured("folder", package, cases, options.threads),
    }
    row = {"size": list(SMALL), "cases": options.cases, **found}
    print(row, flush=True)
    over = found["folder_cpu_s"] / (options.cases * found["network_cpu_s"])
    return row, [bar("folder: CPU over the network's own", over, TIMES, at_most=True)]


def packaged(target: Path, network: Path, mm: float) -> ModelPackage:
    return write_package(
        target, PATCH, 1, CLASSES, (mm,) * 3,
        network=lambda path: path.write_bytes(network.read_bytes()),
    )  # fmt: skip


def measured(way: str, package: ModelPackage, folder: Path, threads: int, name: str = "ct.nii.gz"):
    """What a process of its own took."""
    image = folder if way == "folder" else folder / name
    command = [sys.executable, __file__, "--threads", str(threads), "--child", way, package.path]
    done = subprocess.run([*command, image], stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return {f"{way}_{name}": value for name, value in found.items()}


def run_child(way: str, package: str, image: str, threads: int) -> None:
    if way == "network":
        told = network_alone(package, Path(image), threads)
    else:
        start, cpu = time.perf_counter(), time.process_time()
        write_masks(package, Path(image), threads)
        told = {"s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu}
    print(json.dumps({**told, "mib": peak_mib()}))


def network_alone(package: str, image: Path, threads: int) -> dict[str, float]:
    """A few of the windows that the image is cut into, for the time of all of them.

    As many run side by side as in the way from file to file: cores that share a cache and the
    way to the memory are slower together than one alone.
    """
    from seg.images import open_image
    from seg.inference import load_backend
    from seg.inference.tiling.sliding_window import window_starts
    from seg.transforms import resampled_shape

    model = ModelPackage.load(Path(package))
    backend = load_backend(model, threads=threads)
    card = model.card
    with open_image(image) as source:
        grid = resampled_shape(
            source.spatial_shape, source.spacing, card.input.preprocessing.spacing
        )
    windows = int(
        np.prod([len(window_starts(n, p, 0.5)) for n, p in zip(grid, PATCH, strict=True)])
    )
    patch = np.random.default_rng(0).uniform(size=(1, 1, *PATCH)).astype(np.float32)
    backend.run(patch)
    count = min(windows, MOST_WINDOWS * backend.callers)
    start, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(backend.callers) as callers:
        for _ in callers.map(lambda _: backend.run(patch) is None, range(count)):
            pass
    scale = windows / count
    return {
        "s": scale * (time.perf_counter() - start),
        "cpu_s": scale * (time.process_time() - cpu),
        "windows": windows,
    }


def write_masks(package: str, image: Path, threads: int) -> None:
    from seg.predict.asked import CaseWork, PredictionJob
    from seg.predict.cases import PredictionCase
    from seg.predict.overlapped import run_here
    from seg.predict.work import Worker

    with tempfile.TemporaryDirectory() as out:
        work = CaseWork(package=Path(package), out=Path(out), formats=("nifti",), threads=threads)
        files = sorted(image.iterdir()) if image.is_dir() else [image]
        jobs = [PredictionJob(PredictionCase(file.name.split(".")[0], (file,))) for file in files]
        for outcome in run_here(Worker(work), jobs):
            if outcome.failure:
                raise SystemExit(outcome.failure)


def draw(path: Path, shape: tuple[int, ...]) -> None:
    """A body of organs, each as bright as its number, in noise too small to change it."""
    rng = np.random.default_rng(0)
    seeds = rng.permutation(CLASSES - 1)[:, None] * 0 + rng.uniform(0.15, 0.85, (CLASSES - 1, 3))
    coarse = tuple(max(8, n // 8) for n in shape)
    at = np.stack(np.meshgrid(*(np.linspace(0, 1, n) for n in coarse), indexing="ij"), axis=-1)
    distance = np.stack([((at - seed) ** 2).sum(axis=-1) for seed in seeds])
    organs = distance.argmin(axis=0) + 1
    inside = ((at - 0.5) ** 2 / np.array([0.25, 0.16, 0.16])).sum(axis=-1) < 1
    near = distance.min(axis=0) < 0.006
    labels = np.where(inside & near, organs, 0).astype(np.uint8)
    zoom = [n / m for n, m in zip(shape, coarse, strict=True)]
    whole = ndimage.zoom(labels, zoom, order=0, grid_mode=True, mode="nearest")
    image = nibabel.Nifti1Image(
        whole.T, np.diag([VOXEL[2], VOXEL[1], VOXEL[0], 1.0]).astype(np.float64)
    )
    nibabel.save(image, path)


def network_of_a_body() -> onnx.ModelProto:
    """``resunet-s`` with random weights, whose logits are a small part of what is said."""
    import torch

    from seg.networks import make_network, preset
    from training.onnx_files.write import write_onnx

    torch.manual_seed(0)
    network = make_network(preset("resunet-s", spatial_dims=3, in_channels=1, num_classes=CLASSES))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        write_onnx(network.eval(), np.zeros((2, 1, *PATCH), np.float32), file)
        model = onnx.load(file)
    graph = model.graph
    del graph.output[1:]  # what the network saw
    for node in graph.node:
        node.output[:] = ["learnt" if name == "logits" else name for name in node.output]
    say(graph)
    return model


def network_that_only_says() -> onnx.ModelProto:
    """The same without the U-Net."""

    def value(name: str, channels: int):
        return helper.make_tensor_value_info(
            name, onnx.TensorProto.FLOAT, ["batch", channels, *PATCH]
        )

    node = helper.make_node("Sub", ["patches", "patches"], ["learnt"])
    graph = helper.make_graph([node], "says", [value("patches", 1)], [value("logits", CLASSES)])
    say(graph)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def say(graph: onnx.GraphProto) -> None:
    """Logits: -(x - number)², scaled, and a little of what is learnt.

    They are bounded, so that all classes but the nearest are about as unlikely.
    """
    constants = {
        "numbers": np.arange(CLASSES, dtype=np.float32).reshape(1, -1, 1, 1, 1) / 255,
        "scale": np.float32(-STEEP * 255**2),
        "sure": np.float32(-SURE),
        "little": np.float32(0.01),
    }
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()
    )
    graph.node.extend(
        [
            helper.make_node("Sub", ["patches", "numbers"], ["apart"]),
            helper.make_node("Mul", ["apart", "apart"], ["square"]),
            helper.make_node("Mul", ["square", "scale"], ["steep"]),
            helper.make_node("Max", ["steep", "sure"], ["said"]),
            helper.make_node("Mul", ["learnt", "little"], ["noise"]),
            helper.make_node("Add", ["said", "noise"], ["logits"]),
        ]
    )


if __name__ == "__main__":
    main()
