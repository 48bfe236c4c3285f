"""What `Predictor` adds to its network, and how others fare with the same network and image.

Patches a second through `Predictor` stand beside those of the bare backend in a tight loop with the
same batch and threads, turn by turn in one process, so that other load falls on both; processor
time stands beside that of the clock, since other load hardly moves it. Then each way from an image
file to a mask file runs in a process of its own: seg with each backend, MONAI's
`SlidingWindowInferer` with the network in torch, and whatever `--peer` names. Each program runs as
it comes and at its best: in bfloat16 where the processor has it. Weights are random.
Usage: python benchmarks/inference.py [--dims 2 3] [--runs 3] [--package DIR --image FILE]
[--files-only] [--nnunet PYTHON] [--peer NAME=COMMAND] [--json FILE]
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.result import bar, report
from benchmarks.small_package import write_package
from benchmarks.ways import BFLOAT16, CLASSES, SETTINGS, WEIGHTS_FILE, Setting, built, run_way
from seg.images import Image, read_image, write_image
from seg.inference import Predictor, WindowCounts, load_backend
from seg.model_package import ModelPackage

KEPT = 0.95
"""Share of the bare backend's throughput that must be left."""
OVER_DEFAULT, OVER_BEST = {2: 3.0, 3: 4.0}, 1.5
"""Times faster than a peer at its default, by dimensions, and at its best."""
LESS_OVERLAP = 0.25
"""What export takes where held-back cases lose nothing by it; the default is 0.5."""
FIELDS = (
    "patches_a_second", "share_kept", "share_kept_of_cpu", "seconds", "cpu_seconds", "peak_mib",
)  # fmt: skip
LIBRARIES = ("numpy", "onnxruntime-gpu", "openvino", "torch", "monai")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--dims", type=int, nargs="+", choices=(2, 3), default=(2, 3))
    add("--runs", type=int, default=3, help="of each way; the median counts")
    add("--seconds", type=float, default=10.0, help="a turn of throughput lasts about so long")
    add("--small", action="store_true", help="images of a few windows, to try it out")
    add("--files-only", action="store_true", help="leave the bare backends and batches out")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    add("--package", type=Path, help="a package of its own, without MONAI beside it")
    add("--image", type=Path, help="an image for it")
    add(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="another program, perhaps of another environment; {image}, {out}, {threads}, "
        "{folder} (the package's), {preset}, {patch}, {channels} and {classes} are filled in; it "
        "may print a line of JSON with the seconds that count. benchmarks/peers has some",
    )
    add("--nnunet", type=Path, help="the Python of benchmarks/peers/nnunet/environment.py")
    add("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.nnunet:
        arguments.peer += nnunet(arguments.nnunet.absolute())
    rows = []
    columns = ("patches/s", "share kept", "of CPU", "seconds", "CPU s", "peak MiB")
    print(f"{'network':12} {'way':22} " + " ".join(f"{column:>10}" for column in columns))
    with tempfile.TemporaryDirectory() as scratch:
        for name, folder, image in cases(arguments, Path(scratch)):
            for row in measured(name, folder, image, arguments):
                rows.append(row)
                numbers = [row.get(field) for field in FIELDS]
                shown = " ".join(f"{'' if n is None else f'{n:.2f}':>10}" for n in numbers)
                print(f"{row['network']:12} {row['way']:22} {shown}", flush=True)
    report("inference", rows, list(bars(rows)), LIBRARIES, arguments.json)


def nnunet(python: Path) -> list[str]:
    """nnU-Net's predictor as it comes and at its best, as peers."""
    command = (
        f"{python} benchmarks/peers/nnunet/sliding_window.py --preset {{preset}} "
        f"--weights {{folder}}/{WEIGHTS_FILE} --image {{image}} --out {{out}} "
        "--threads {threads} --patch {patch} --channels {channels} --classes {classes}"
    )
    best = [f"nnU-Net, {BFLOAT16}={command} --bfloat16"] if has_bfloat16() else []
    return [f"nnU-Net={command}", *best]


def cases(arguments, scratch: Path):
    """Name, folder with a package and perhaps the torch network, and image file."""
    if arguments.package:
        yield arguments.package.name, arguments.package.resolve(), arguments.image.resolve()
        return
    for dims in arguments.dims:
        setting = SETTINGS[dims]
        size = tuple(2 * n for n in setting.patch) if arguments.small else setting.size
        folder = scratch / f"{dims}d"
        write_package(
            folder, setting.patch, setting.channels, CLASSES, network=exported(setting, folder)
        )
        image = scratch / f"image-{dims}d{setting.suffix}"
        noise = np.random.default_rng(0).integers(0, 256, (setting.channels, *size))
        write_image(image, Image(noise.astype(np.uint8)))
        yield f"{setting.preset} {dims}D", folder, image


def exported(setting: Setting, folder: Path):
    """Writes the network as ONNX, and its weights beside it."""
    import torch

    from training.onnx_files.write import write_onnx

    torch.manual_seed(0)
    network = built(setting)

    def write(file: Path) -> None:
        write_onnx(network, np.zeros((2, setting.channels, *setting.patch), np.float32), file)
        torch.save(network.state_dict(), folder / WEIGHTS_FILE)

    return write


def measured(name: str, folder: Path, image: Path, arguments):
    for provider in () if arguments.files_only else ("cpu", "openvino"):
        yield {"network": name, **throughput(folder, image, provider, arguments)}
    ways = [("seg, cpu", None), ("seg, openvino", None)]
    is_ours = (folder / WEIGHTS_FILE).exists()
    if is_ours:
        batches = (1,) if arguments.files_only else (1, 4)
        ways += [(f"MONAI, batch {size}", None) for size in batches]
    if has_bfloat16():
        ways += [
            (f"seg, openvino, {BFLOAT16}", None),
            (f"seg, openvino, {BFLOAT16}, overlap {LESS_OVERLAP}", None),
        ]
        ways += [(f"MONAI, batch 1, {BFLOAT16}", None)] if is_ours else []
    ways += [(name, command) for name, _, command in (p.partition("=") for p in arguments.peer)]
    runs: dict[str, list[dict[str, float]]] = {way: [] for way, _ in ways}
    for _ in range(arguments.runs):  # turn by turn, so that other load falls on all
        for way, command in ways:
            runs[way].append(run_way(way, command, folder, image, arguments.threads))
            print(f"  {way}: {runs[way][-1]['seconds']:.2f} s", file=sys.stderr, flush=True)
    for way, found in runs.items():
        medians = {key: statistics.median(run[key] for run in found) for key in found[0]}
        yield {"network": name, "way": way, **medians}


def throughput(folder: Path, image: Path, provider, arguments) -> dict[str, object]:
    """Patches a second of the bare backend and of ``Predictor``, and medians of their ratios."""
    package = ModelPackage.load(folder)
    backend = load_backend(package, provider=provider, threads=arguments.threads)
    predictor = Predictor(package, backend, skip_empty=False)
    picture = read_image(image, dims=len(backend.patch))
    patches = package.golden().patches
    batch = np.ascontiguousarray(np.resize(patches, (backend.batch_size, *patches.shape[1:])))
    counts = WindowCounts()

    def through_predictor() -> int:
        predictor.predict(picture, counts=counts)
        return counts.total

    def bare() -> int:
        list(pool.map(backend.run, [batch] * backend.callers))
        return backend.callers * backend.batch_size

    turns = []
    with ThreadPoolExecutor(backend.callers) as pool:
        bare()
        for _ in range(2 * arguments.runs):
            turns.append((timed(bare, arguments.seconds), timed(through_predictor, 0)))
    return {
        "way": f"Predictor, {provider}",
        "patches_a_second": statistics.median(1 / ours[0] for _, ours in turns),
        "bare_patches_a_second": statistics.median(1 / alone[0] for alone, _ in turns),
        "share_kept": statistics.median(alone[0] / ours[0] for alone, ours in turns),
        "share_kept_of_cpu": statistics.median(alone[1] / ours[1] for alone, ours in turns),
        "network_seconds": counts.total * statistics.median(alone[0] for alone, _ in turns),
    }


def timed(run: Callable[[], int], seconds: float) -> tuple[float, float]:
    """Seconds by the clock and of all cores a patch, over at least so long."""
    done, start, cpu = 0, time.perf_counter(), time.process_time()
    while not done or time.perf_counter() - start < seconds:
        done += run()
    return (time.perf_counter() - start) / done, (time.process_time() - cpu) / done


def bars(rows):
    for row in rows:
        if "share_kept" in row:
            what = f"{row['network']}, {row['way']}: share of the bare backend's patches a second"
            yield bar(what, row["share_kept"], KEPT, at_most=False)
            yield bar(f"{what}, by CPU time", row["share_kept_of_cpu"], KEPT, at_most=False)
    for network in dict.fromkeys(row["network"] for row in rows):
        for field, what in (
            ("seconds", "times faster than"),
            ("cpu_seconds", "less CPU time than"),
        ):
            own = [row for row in rows if row["network"] == network and field in row]
            ours = min(row[field] for row in own if row["way"].startswith("seg"))
            for program, least, bound in of_peers(own, field, "2D" in network):
                yield bar(f"{network}: {what} {program}", least / ours, bound, at_most=False)
                has_network = any("network_seconds" in row for row in rows)
                if field == "seconds" and has_network:
                    alone = least / network_seconds(rows, network)
                    what_is_left = f"{what} {program} if only the network took time"
                    yield bar(f"{network}: {what_is_left}", alone, bound, at_most=False)


def of_peers(rows, field: str, is_flat: bool):
    """Each peer at its default and at its best: name, least of its rows, and the bar."""
    peers = dict.fromkeys(row["way"].partition(",")[0] for row in rows)
    for program in peers:
        own = [row for row in rows if row["way"].partition(",")[0] == program]
        usual = [row[field] for row in own if BFLOAT16 not in row["way"]]
        if program != "seg" and usual:
            bound = OVER_DEFAULT[2 if is_flat else 3]
            yield f"{program} at its default", min(usual), bound
            yield f"{program} at its best", min(row[field] for row in own), OVER_BEST


def has_bfloat16() -> bool:
    import torch

    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def network_seconds(rows, network: str) -> float:
    """The image's windows in the faster backend alone."""
    return min(
        row["network_seconds"]
        for row in rows
        if row["network"] == network and "network_seconds" in row
    )


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
