"""Peak memory of a prediction against the size of the image, from file to file.

Pictures are tiled RGB TIFFs of 3 classes, volumes NIfTI files of 512 x 512 x depth and 20 classes,
once on the network's grid and once resampled to it and back. Each prediction is a process of its
own; beside it stands a naive one that holds the image, all logits and the mask. The network is two
convolutions: what is measured is everything else.
Usage: python benchmarks/memory.py [--full] [--json FILE] [--plot FILE]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import tifffile

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.result import bar, peak_mib, report
from benchmarks.small_package import write_package
from seg.images import Image, write_mask_parts

BOUND_MIB = 2048
FLAT = 1.25
"""Largest growth of the peak over the last doubling of the size."""
NAIVE_BYTES = 6 * 2**30
"""The naive way is not tried where its logits alone pass this."""
TILE = 512


@dataclass(frozen=True)
class Kind:
    """A kind of image and the model for it."""

    name: str
    patch: tuple[int, ...]
    channels: int
    classes: int
    sizes: tuple[tuple[int, ...], ...]
    full_sizes: tuple[tuple[int, ...], ...]
    target_spacing: tuple[float, ...] | None = None

    @property
    def suffix(self) -> str:
        """Of image and mask files."""
        return ".tif" if len(self.patch) == 2 else ".nii"


VOLUMES = tuple((depth, 512, 512) for depth in (125, 250, 500, 1000))
SMALL_VOLUMES = tuple((depth, 128, 128) for depth in (100, 200, 400))
KINDS = (
    Kind(
        "picture",
        (512, 512),
        3,
        3,
        tuple((n, n) for n in (1000, 2000, 4000)),
        tuple((n, n) for n in (2500, 5000, 10_000, 20_000)),
    ),
    Kind("volume", (32, 128, 128), 1, 20, SMALL_VOLUMES, VOLUMES),
    Kind("volume, resampled", (32, 128, 128), 1, 20, SMALL_VOLUMES, VOLUMES, (1.5, 1.5, 1.5)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="up to 20,000² and 1,000 slices")
    parser.add_argument("--streamed-only", action="store_true", help="leave the naive way out")
    parser.add_argument("--kind", choices=[kind.name for kind in KINDS], action="append")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="a picture of the curves, PNG or SVG")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        run_child(*arguments.child)
        return
    rows = []
    print(f"{'image':18} {'size':>18} {'way':>9} {'peak MiB':>9} {'seconds':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            if arguments.kind and kind.name not in arguments.kind:
                continue
            for row in measure(kind, arguments, Path(folder) / kind.name):
                rows.append(row)
                size = " x ".join(map(str, row["size"]))
                print(
                    f"{row['image']:18} {size:>18} {row['way']:>9} {row['peak_mib']:9.0f} "
                    f"{row['seconds']:8.1f}",
                    flush=True,
                )
    libraries = ("numpy", "onnxruntime-gpu", "tifffile", "zarr")
    report("memory", rows, list(bars(rows)), libraries, arguments.json)
    if arguments.plot:
        plot(rows, arguments.plot)


def measure(kind: Kind, arguments: argparse.Namespace, folder: Path):
    package = write_package(
        folder / "package", kind.patch, kind.channels, kind.classes, kind.target_spacing
    )
    for size in kind.full_sizes if arguments.full else kind.sizes:
        image = folder / f"image{kind.suffix}"
        draw(image, size)
        for way in ("streamed",) if arguments.streamed_only else ("streamed", "naive"):
            if way == "naive" and 4 * kind.classes * np.prod(size) > NAIVE_BYTES:
                continue
            command = [sys.executable, __file__, "--child", way, package.path, image, folder]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            yield {"image": kind.name, "size": list(size), "way": way, **json.loads(done.stdout)}
        image.unlink()


def draw(path: Path, size: tuple[int, ...]) -> None:
    """An image of repeated waves, written part by part."""
    y, x = np.mgrid[:TILE, :TILE] / 40
    wave = (127 + 100 * np.sin(y) * np.cos(x)).astype(np.uint8)
    if path.suffix == ".tif":
        tile = np.stack([wave, 255 - wave, wave // 2], axis=-1)
        count = np.prod([-(-n // TILE) for n in size])
        tifffile.imwrite(
            path,
            (tile for _ in range(count)),
            shape=(*size, 3),
            dtype=np.uint8,
            tile=(TILE, TILE),
            compression="zlib",
            compressionargs={"level": 1},
            photometric="rgb",
            bigtiff=True,
        )
        return
    plane = wave[: size[1], : size[2]]
    planes = (np.roll(plane, z, axis=1)[None] for z in range(size[0]))
    empty = np.broadcast_to(np.uint8(0), (1, *size))
    write_mask_parts(path, planes, Image(empty, spacing=(1.0, 1.0, 1.0)), "nifti")


def run_child(way: str, package: str, image: str, folder: str) -> None:
    from seg.inference import Predictor, predict_file
    from seg.model_package import ModelPackage

    predictor = Predictor(ModelPackage.load(package))
    source = Path(image)
    target = Path(folder) / f"mask{source.suffix}"
    start = time.perf_counter()
    if way == "streamed":
        predict_file(predictor, source, target, "tiff" if source.suffix == ".tif" else "nifti")
    else:
        predict_naively(predictor, source, target)
    print(json.dumps({"peak_mib": peak_mib(), "seconds": time.perf_counter() - start}))


def predict_naively(predictor, source: Path, target: Path) -> None:
    """Everything at once, as most programs do: image, logits of all classes, mask."""
    from seg.inference import Tiling, predict_slabs
    from seg.transforms import prepare, resample_rows

    spec = predictor.package.card.input
    if source.suffix == ".tif":
        image = Image(np.moveaxis(tifffile.imread(source), -1, 0))
    else:
        voxels = np.asarray(nibabel.load(source).dataobj)
        image = Image(voxels.T[None], spacing=(1.0, 1.0, 1.0))
    prepared = prepare(image, spec.preprocessing)
    slabs = predict_slabs(predictor.backend, prepared, Tiling(overlap=spec.overlap))
    logits = np.concatenate([slab.logits for slab in slabs], axis=1)
    shape = image.spatial_shape
    if logits.shape[1:] != shape:
        logits = resample_rows(logits, shape, range(shape[0]))
    labels = logits.argmax(axis=0).astype(np.uint8)
    if source.suffix == ".tif":
        tifffile.imwrite(target, labels, tile=(TILE, TILE), compression="zlib")
    else:
        nibabel.save(nibabel.Nifti1Image(labels.T, np.eye(4)), target)


def bars(rows):
    for name in dict.fromkeys(row["image"] for row in rows):
        peaks = [r["peak_mib"] for r in rows if r["image"] == name and r["way"] == "streamed"]
        yield bar(f"{name}: MiB at the largest size", peaks[-1], BOUND_MIB, at_most=True)
        growth = peaks[-1] / peaks[-2]
        yield bar(f"{name}: growth over the last step", growth, FLAT, at_most=True)


def plot(rows, target: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, way in dict.fromkeys((row["image"], row["way"]) for row in rows):
        chosen = [row for row in rows if (row["image"], row["way"]) == (name, way)]
        voxels = [np.prod(row["size"]) / 1e6 for row in chosen]
        style = "o-" if way == "streamed" else "x--"
        axes.plot(voxels, [row["peak_mib"] for row in chosen], style, label=f"{name}, {way}")
    axes.set(xscale="log", yscale="log", xlabel="million pixels or voxels", ylabel="peak MiB")
    axes.axhline(BOUND_MIB, color="grey", linewidth=1)
    axes.legend(frameon=False)
    figure.savefig(target)


if __name__ == "__main__":
    main()
