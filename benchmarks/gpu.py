"""One CUDA GPU: training steps a second, the share of its peak that they reach, and inference.

Training is real steps (forward, loss at every resolution, backward, AdamW) in bfloat16 on random
data that lie on the card: the network alone, without what makes its patches. Each way runs by
itself: as it is, channels-last, compiled, both. Their floating-point operations are counted by
torch.utils.flop_counter and divided by two peaks: a large bfloat16 matrix product measured here,
and the figure of the card's data sheet, dense, where the card is known. Inference is the same
network: patches from host memory to logits in host memory by the backend that serves, in float32,
TF32 and float16, and by torch in bfloat16 and float32. The pipeline is the training of `fit`, from
files that are drawn here: two of different length, whose difference leaves out the start.

Usage: python benchmarks/gpu.py [--dims 2 3] [--seconds 10] [--budget 300] [--json FILE]
Without --json the result goes to benchmarks/results/gpu-CARD.json; it is written after each row, so
that a machine that goes away leaves what was measured. `--budget` ends the program in about so many
seconds. It needs torch, numpy, onnx with onnxscript, pydantic and jaxtyping; where more is missing
(MONAI, onnxruntime), a plain loss stands in and rows say what failed. `--device cpu --small` shows
on any machine that the program runs; its figures say nothing about a GPU.
"""

import argparse
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.result import bar, show, write
from seg.networks import ResidualUNet, preset

NOMINAL_TFLOPS = {
    "B200": 2250.0,
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10": 125.0,
    "RTX 4090": 165.0,
    "RTX 3090": 71.0,
}
"""bfloat16 with float32 sums, dense, from NVIDIA's data sheets; the first name that fits."""
PEAK_SHARES = {2: 0.35, 3: 0.4}
"""Of the measured matrix peak that training in the best way shall reach, by dimensions."""
INFERENCE_SHARE = 0.6
"""Of the measured matrix peak that batched inference in float16 shall reach."""
PIPELINE_SHARE = 0.9
"""Of the steps a second of the bare network that the whole training shall take."""
AHEAD = 40
"""Steps of the shorter training: what lay ready is used up then."""
LIBRARIES = ("torch", "onnxruntime-gpu", "numpy")
RESULTS = Path(__file__).parent / "results"
A_STAGE = ("features", "blocks", "strides", "kernel_sizes")
CLASSES = 4
WARM_UP = 3


@dataclass(frozen=True)
class Setting:
    """What is trained and served."""

    network: str
    patch: tuple[int, ...]
    batch: int
    stages: int | None = None
    """The finest of the network's that are kept; None keeps all."""

    @property
    def dims(self) -> int:
        """Spatial dimensions."""
        return len(self.patch)


SETTINGS = {
    2: Setting("resunet-m", (512, 512), 12),
    3: Setting("resunet-m", (128, 128, 128), 2),
}
SMALL = {
    2: Setting("resunet-xs", (16, 16), 2, stages=3),
    3: Setting("resunet-xs", (16, 16, 16), 1, stages=3),
}
PLAIN = {"as it is": (False, False), "channels-last": (False, True)}
COMPILED = {"compiled": (True, False), "compiled, channels-last": (True, True)}


class Trainer:
    """A network that takes steps on one batch."""

    def __init__(self, setting: Setting, device: str, *, compiled: bool, last: bool) -> None:
        torch.manual_seed(0)
        self.device = device
        layout = _channels_last(setting.dims) if last else torch.contiguous_format
        self.network: Any = network_of(setting, deep_supervision=True).to(
            device, memory_format=layout
        )
        self.loss = loss_here()
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=1e-4)
        shape = (setting.batch, 1, *setting.patch)
        self.images = torch.randn(shape, device=device).contiguous(memory_format=layout)
        self.labels = torch.randint(CLASSES, shape, device=device).float()
        if compiled:
            self.network = torch.compile(self.network)

    def step(self) -> None:
        """Forward, loss, backward, optimiser."""
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device, torch.bfloat16):
            loss = self.loss(self.network(self.images), self.labels)
        loss.backward()
        self.optimiser.step()


def loss_here() -> Callable[[Any, torch.Tensor], torch.Tensor]:
    """The loss that trains; cross-entropy at full resolution where MONAI is missing."""
    try:
        from seg.images import ClassInfo
        from training.dataset import Legend
        from training.learning.losses import make_loss
    except ImportError:
        return lambda logits, labels: torch.nn.functional.cross_entropy(
            logits[0].float(), labels[:, 0].long()
        )
    classes = tuple(ClassInfo(index=i, name=str(i), color=(i, i, i)) for i in range(CLASSES))
    return make_loss(Legend(classes))


def network_of(setting: Setting, *, deep_supervision: bool) -> ResidualUNet:
    config = preset(
        setting.network,
        spatial_dims=setting.dims,
        in_channels=1,
        num_classes=CLASSES,
    )
    config = replace(
        config,
        **{each: getattr(config, each)[: setting.stages] for each in A_STAGE},
        deep_supervision=deep_supervision,
    )
    return ResidualUNet(config)


def _channels_last(dims: int) -> torch.memory_format:
    return torch.channels_last if dims == 2 else torch.channels_last_3d


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dims", type=int, nargs="+", choices=(2, 3), default=[2, 3])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="a tiny network on tiny patches")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--budget", type=float, default=600, help="seconds of all together")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.device == "cpu":  # a card that is there stays out of it
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit(
            "this benchmark needs a CUDA device, and torch finds none here; "
            "--device cpu --small shows that it runs"
        )
    until = time.monotonic() + options.budget
    card = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    target = options.json
    if target is None and options.device == "cuda":
        target = RESULTS / f"gpu-{re.sub(r'[^a-z0-9]+', '-', card.lower()).strip('-')}.json"
    rows: list[dict[str, Any]] = []
    for row in measured(options, card):
        rows.append(row)
        tell(row)
        if target is not None:
            write("gpu", rows, bars_of(rows, options), LIBRARIES, target)
        if time.monotonic() > until:
            print(f"the budget of {options.budget:g} s is spent; the rest is left out", flush=True)
            break
    show(bars_of(rows, options))


def measured(options: argparse.Namespace, card: str) -> Iterator[dict[str, Any]]:
    """All rows, the ones that bars are about first."""
    peak = matrix_peak(options.device, 512 if options.small else 8192, options.seconds)
    nominal = next((v for name, v in NOMINAL_TFLOPS.items() if name in card), None)
    yield {"what": "matrix product", "card": card, "tflops": peak, "nominal_tflops": nominal}
    for dims in sorted(options.dims, reverse=True):
        setting = (SMALL if options.small else SETTINGS)[dims]
        bare = 0.0
        for row in training(setting, options, peak, nominal, PLAIN):
            bare = max(bare, row.get("steps_a_second", 0.0))
            yield row
        yield from inference(setting, options, peak)
        yield piped(setting, options, bare)
    for dims in options.dims if options.compile else ():  # minutes, where nothing is cached
        setting = (SMALL if options.small else SETTINGS)[dims]
        yield from training(setting, options, peak, nominal, COMPILED)


def bars_of(rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> list[dict[str, Any]]:
    """What a card is held to."""
    if options.device != "cuda":
        return []
    shares: dict[int, float] = {}
    for row in rows:
        if "of_measured_peak" in row:
            shares[row["dims"]] = max(shares.get(row["dims"], 0.0), row["of_measured_peak"])
    bars = [
        bar(f"best share of the measured matrix peak, training in {dims}D", share,
            PEAK_SHARES[dims], at_most=False)
        for dims, share in shares.items()
    ]  # fmt: skip
    for row in rows:
        if row["what"] == "inference" and row.get("precision") == "float16":
            share = row.get("of_measured_peak_there", 0.0)
            what = f"share of the peak, float16 inference in {row['dims']}D"
            bars.append(bar(what, share, INFERENCE_SHARE, at_most=False))
        if "of_bare" in row:
            bars.append(bar(f"pipeline / bare network in {row['dims']}D", row["of_bare"],
                            PIPELINE_SHARE, at_most=False))  # fmt: skip
    return bars


def tell(row: dict[str, Any]) -> None:
    cells = (f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
             for name, value in row.items())  # fmt: skip
    print("  ".join(cells), flush=True)


def rate(work: Callable[[], object], device: str, seconds: float) -> float:
    """Times a second, by the median of rounds that together last about so long."""
    for _ in range(WARM_UP):
        work()
    once = timed(work, device, 1)
    times = max(1, int(seconds / 5 / once))
    return 1 / statistics.median(timed(work, device, times) for _ in range(5))


def timed(work: Callable[[], object], device: str, times: int) -> float:
    """Seconds of one, the device's queue emptied before and after."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(times):
        work()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / times


def matrix_peak(device: str, edge: int, seconds: float) -> float:
    """TFLOP/s of a bfloat16 product of two square matrices."""
    left, right = torch.randn(2, edge, edge, device=device, dtype=torch.bfloat16)
    return 2 * edge**3 * rate(lambda: left @ right, device, seconds) / 1e12


def training(
    setting: Setting,
    options: argparse.Namespace,
    peak: float,
    nominal: float | None,
    ways: Mapping[str, tuple[bool, bool]],
) -> Iterator[dict[str, Any]]:
    """A row for each way."""
    device = options.device
    counter = FlopCounterMode(display=False)
    with counter:
        Trainer(setting, device, compiled=False, last=False).step()
    flops = counter.get_total_flops()
    for way, (compiled, last) in ways.items():
        row = {
            "what": "training",
            "dims": setting.dims,
            "network": setting.network,
            "patch": list(setting.patch),
            "batch": setting.batch,
            "way": way,
        }
        try:
            steps, peak_gib = steps_of(setting, options, compiled=compiled, last=last)
        except RuntimeError as error:  # as torch says that memory or the compiler failed
            yield {**row, "failed": str(error).splitlines()[0]}
            continue
        reached = flops * steps / 1e12
        row |= {"steps_a_second": steps, "gflop_a_step": flops / 1e9, "tflops": reached}
        row["of_measured_peak"] = reached / peak
        if nominal:
            row["of_nominal_peak"] = reached / nominal
        if device == "cuda":
            row["peak_gib"] = peak_gib
        yield row


def steps_of(
    setting: Setting, options: argparse.Namespace, *, compiled: bool, last: bool
) -> tuple[float, float]:
    """Training steps a second, and the most GiB of the card's memory that they took."""
    on_gpu = options.device == "cuda"
    torch.compiler.reset()
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    trainer = Trainer(setting, options.device, compiled=compiled, last=last)
    steps = rate(trainer.step, options.device, options.seconds)
    return steps, torch.cuda.max_memory_allocated() / 2**30 if on_gpu else 0.0


def inference(
    setting: Setting, options: argparse.Namespace, peak: float
) -> Iterator[dict[str, Any]]:
    """A row for each backend that is here."""
    torch.manual_seed(0)
    network = network_of(setting, deep_supervision=False).eval()
    noise = np.random.default_rng(0).normal(size=(setting.batch, 1, *setting.patch))
    patches = noise.astype(np.float32)
    about = {"what": "inference", "dims": setting.dims, "network": setting.network}
    about |= {"patch": list(setting.patch), "batch": setting.batch}
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        network(torch.from_numpy(patches[:1]))
    flops = counter.get_total_flops()
    for precision in ("float32", "tf32", "float16"):
        try:
            row = about | served(network, patches, options, precision)
            reached = flops * row["patches_a_second"] / 1e12
            yield row | {"tflops": reached, "of_measured_peak_there": reached / peak}
        except Exception as error:  # a library that is missing, or a provider that does not load
            failed = in_a_line(error)
            yield {**about, "way": f"onnxruntime, {options.device}", "precision": precision,
                   "failed": failed}  # fmt: skip
    for dtype in (torch.bfloat16, torch.float32):
        yield about | in_torch(network.to(options.device), dtype, patches, options)


def in_a_line(error: Exception) -> str:
    """What went wrong."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def served(
    network: ResidualUNet, patches: np.ndarray, options: argparse.Namespace, precision: str
) -> dict[str, Any]:
    import onnx

    from seg.inference import OnnxBackend
    from training.onnx_files.write import write_onnx
    from training.variants.half import to_float16

    with tempfile.TemporaryDirectory() as folder:
        file, half = Path(folder) / "network.onnx", precision == "float16"
        examples = np.resize(patches, (2, *patches.shape[1:]))
        write_onnx(network, examples, file, exact_norms=not half)
        if half:
            onnx.save(to_float16(onnx.load(file)), file)
        backend = OnnxBackend(
            file, provider=options.device, batch_size=len(patches), tf32=precision == "tf32"
        )
    runs = rate(lambda: backend.run(patches), options.device, options.seconds)
    return {"way": f"onnxruntime, {backend.provider}", "precision": precision,
            "patches_a_second": runs * len(patches)}  # fmt: skip


def piped(setting: Setting, options: argparse.Namespace, bare: float) -> dict[str, Any]:
    """Steps a second of the training of ``fit``, beside the bare network's in its best way."""
    row = {"what": "pipeline", "dims": setting.dims, "network": setting.network}
    try:
        steps = AHEAD + max(4, round(3 * options.seconds * bare))
        with tempfile.TemporaryDirectory() as folder:
            short, place = trained(setting, options.device, AHEAD, bare, Path(folder) / "short")
            long, _ = trained(setting, options.device, steps, bare, Path(folder) / "long")
    except Exception as error:  # what it needs beside torch may be missing
        failed = in_a_line(error)
        return {**row, "failed": failed}
    found = (steps - AHEAD) / (long - short)
    return row | {"augment_on": place, "steps_a_second": found, "bare": bare,
                  "of_bare": found / bare}  # fmt: skip


def trained(
    setting: Setting, device: str, steps: int, bare: float, folder: Path
) -> tuple[float, str]:
    """Seconds of a training of so many steps, and where its patches were changed."""
    from data.phantom import draw
    from training.dataset import load_dataset
    from training.dataset.fingerprint import fingerprint_of
    from training.learning.trainer import train
    from training.planning.patch_cost import place_to_augment
    from training.planning.rules import make_plan
    from training.run.clock import Clock
    from training.run.device import find_device
    from training.run.plan import changed_plan
    from training.samples.prepared_cases import prepare_cases

    size = tuple(round(1.25 * edge) for edge in setting.patch)
    data = draw(folder / "cells", dims=setting.dims, cases=4, size=size)
    dataset = load_dataset(data)
    plan = make_plan(
        fingerprint_of(dataset), dataset.channels, device,
        dataset=dataset.name, data=str(data), minutes=60, network=setting.network,
        patch=setting.patch, batch_size=setting.batch, steps=steps,
        augmentation="robust" if setting.dims == 2 else "medical",
        precision="bfloat16" if device == "cuda" else "float32",
    )  # fmt: skip
    found = find_device()
    plan = changed_plan(plan, {"augment_on": place_to_augment(plan, 1 / bare, found)})
    cases = prepare_cases(dataset, plan, folder / "cases")
    begun = time.perf_counter()
    train(plan, cases, dataset, found, folder, Clock(60, steps))
    return time.perf_counter() - begun, plan.augment_on


def in_torch(
    network: ResidualUNet, dtype: torch.dtype, patches: np.ndarray, options: argparse.Namespace
) -> dict[str, Any]:
    device, lower = options.device, dtype is not torch.float32

    def run() -> np.ndarray:
        with torch.inference_mode(), torch.autocast(device, dtype, enabled=lower):
            logits: torch.Tensor = network(torch.from_numpy(patches).to(device))
        return logits.float().cpu().numpy()

    runs = rate(run, device, options.seconds)
    return {"way": f"torch, {str(dtype).removeprefix('torch.')}",
            "patches_a_second": runs * len(patches)}  # fmt: skip


if __name__ == "__main__":
    main()
