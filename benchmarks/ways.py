"""Ways from an image file to a mask file, each in a process of its own.

Usage, by benchmarks/inference.py alone: python benchmarks/ways.py WAY FOLDER IMAGE OUT THREADS
FOLDER holds a package, and the network's weights where another program runs the network in torch.
"""

import json
import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.result import peak_mib
from seg.images import read_image
from seg.inference import Predictor, load_backend
from seg.model_package import ModelPackage

ROOT = Path(__file__).parents[1]
WEIGHTS_FILE = "weights.pt"
CLASSES = 3
BFLOAT16 = "bfloat16"


@dataclass(frozen=True)
class Setting:
    """A network and an image that half-overlapping windows cover evenly."""

    patch: tuple[int, ...]
    size: tuple[int, ...]
    channels: int = 1
    preset: str = "resunet-s"

    @property
    def suffix(self) -> str:
        """Of image and mask files."""
        return ".tif" if len(self.patch) == 2 else ".nii"


SETTINGS = {2: Setting((192, 192), (960, 960)), 3: Setting((64, 64, 64), (96, 128, 128))}


def built(setting: Setting):
    from seg.networks import ResidualUNet, preset

    config = preset(
        setting.preset,
        spatial_dims=len(setting.patch),
        in_channels=setting.channels,
        num_classes=CLASSES,
    )
    return ResidualUNet(config).eval()


def run_way(way: str, command: str | None, folder: Path, image: Path, threads: int):
    """Seconds and peak memory from image file to mask file, in a process of its own."""
    out = folder / f"mask{image.suffix}"
    if command is None:
        line = [sys.executable, __file__, way, str(folder), str(image), str(out), str(threads)]
    else:
        line = shlex.split(command.format(**filled_in(folder, image, out, threads)))
    start = time.perf_counter()
    with subprocess.Popen(line, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        told = process.stdout.read().decode().strip().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    whole = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{way} ended with exit code {process.returncode}")
    said = json.loads(told[-1]) if told and told[-1].startswith("{") else {}
    return {"seconds": whole, "peak_mib": usage.ru_maxrss / 1024, "process_seconds": whole, **said}


def filled_in(folder: Path, image: Path, out: Path, threads: int) -> dict[str, object]:
    card = ModelPackage.load(folder).card
    return {
        "image": image,
        "out": out,
        "folder": folder,
        "threads": threads,
        "preset": SETTINGS[len(card.input.patch)].preset,
        "patch": ",".join(map(str, card.input.patch)),
        "channels": len(card.input.channels),
        "classes": len(card.classes),
    }


def run_child(way: str, folder: Path, image: Path, out: Path, threads: int) -> None:
    """``seconds`` are those without imports and loading; ``peak_mib`` is that of all."""
    kind, detail, *wishes = way.split(", ")
    run = prepare_seg(folder, detail, threads, wishes) if kind == "seg" else prepare_monai(
        folder, int(detail.split()[1]), threads, BFLOAT16 in wishes
    )  # fmt: skip
    loaded = peak_mib()
    start, cpu = time.perf_counter(), time.process_time()
    run(image, out)
    told = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mib": peak_mib(),
        "loaded_mib": loaded,
    }
    print(json.dumps(told))


def prepare_seg(folder: Path, provider, threads: int, wishes: Sequence[str] = ()):
    from seg.images import write_mask

    package = ModelPackage.load(folder)
    precision = BFLOAT16 if BFLOAT16 in wishes else "float32"
    backend = load_backend(package, provider=provider, threads=threads, precision=precision)
    overlaps = [float(wish.split()[1]) for wish in wishes if wish.startswith("overlap")]
    predictor = Predictor(package, backend, overlap=overlaps[0] if overlaps else None)

    def run(image: Path, out: Path) -> None:
        mask = predictor.predict(read_image(image, dims=len(package.card.input.patch)))
        write_mask(out, mask, "tiff" if out.suffix == ".tif" else "nifti", package.card.classes)

    return run


def prepare_monai(folder: Path, batch_size: int, threads: int, bfloat16: bool = False):
    import nibabel
    import tifffile
    import torch
    from monai.inferers import SlidingWindowInferer

    torch.set_num_threads(threads)
    card = ModelPackage.load(folder).card
    network = built(SETTINGS[len(card.input.patch)])
    network.load_state_dict(torch.load(folder / WEIGHTS_FILE, weights_only=True))
    layout = torch.contiguous_format
    if bfloat16:  # as fast as torch goes on a CPU
        flat = len(card.input.patch) == 2
        layout = torch.channels_last if flat else torch.channels_last_3d
        network = network.to(memory_format=layout)
    infer = SlidingWindowInferer(
        card.input.patch, sw_batch_size=batch_size, overlap=card.input.overlap, mode="gaussian"
    )

    def run(image: Path, out: Path) -> None:
        if image.suffix == ".tif":
            array = tifffile.imread(image)
        else:
            array = np.asarray(nibabel.load(image).dataobj).T

        def asked(windows):
            return network(windows.contiguous(memory_format=layout))

        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = infer(torch.from_numpy(array[None, None] / np.float32(255)), asked)
            labels = logits[0].argmax(0).to(torch.uint8).numpy()
        if image.suffix == ".tif":
            tifffile.imwrite(out, labels, compression="zlib")
        else:
            nibabel.save(nibabel.Nifti1Image(labels.T, np.eye(4)), out)

    return run


def main() -> None:
    way, *paths, threads = sys.argv[1:]
    run_child(way, *map(Path, paths), int(threads))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
