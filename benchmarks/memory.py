"""Peak memory of a prediction against the size of the image, from file to file.

Pictures are tiled RGB TIFFs of 3 classes, volumes NIfTI files of 512 x 512 x depth and 20 classes,
once on the network's grid and once resampled to it and back; cells of a picture are told apart,
counted and measured, and its width is what memory grows with. Each prediction is a process of its
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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import onnx
import tifffile
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.result import bar, peak_mib, report
from benchmarks.small_package import write_package
from seg.images import Image, write_mask_parts
from seg.model_package import Instances, ModelPackage, ObjectRule, write_card

BOUND_MIB = 2048
CELLS_MIB = 1.2e9 / 2**20
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
    objects: bool = False
    """Cells are drawn, and told apart."""

    @property
    def suffix(self) -> str:
        """Of image and mask files."""
        return ".tif" if len(self.patch) == 2 else ".nii"


CELL = 32
"""Pixels from one cell to the next."""
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
    Kind(
        "cells",
        (512, 512),
        1,
        2,
        ((512, 4000), (1024, 4000)),
        ((1024, 20_000), (4096, 20_000), (20_000, 20_000)),
        objects=True,
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="up to 20,000² and 1,000 slices")
    parser.add_argument("--streamed-only", action="store_true", help="leave the naive way out")
    parser.add_argument("--kind", choices=[kind.name for kind in KINDS], action="append")
    parser.add_argument("--most", type=float, default=1e9, help="million pixels of an image")
    parser.add_argument("--least", type=float, default=0, help="million pixels of an image")
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
    package = package_for(kind, folder / "package")
    for size in kind.full_sizes if arguments.full else kind.sizes:
        if not arguments.least <= np.prod(size) / 1e6 <= arguments.most:
            continue
        image = folder / f"image{kind.suffix}"
        draw(image, size, cells=kind.objects)
        ways = ("streamed",) if arguments.streamed_only else ("streamed", "naive")
        for way in ("objects",) if kind.objects else ways:
            if way == "naive" and 4 * kind.classes * np.prod(size) > NAIVE_BYTES:
                continue
            command = [sys.executable, __file__, "--child", way, package.path, image, folder]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            yield {"image": kind.name, "size": list(size), "way": way, **json.loads(done.stdout)}
        image.unlink()


def package_for(kind: Kind, folder: Path) -> ModelPackage:
    if not kind.objects:
        return write_package(folder, kind.patch, kind.channels, kind.classes, kind.target_spacing)
    package = write_package(
        folder, kind.patch, kind.channels, kind.classes, network=brightness_of(kind.patch)
    )
    instances = Instances(
        encoding="distance",
        channels_for=("distance",),
        rules={"class 1": ObjectRule(seed=0.7)},
        halo=CELL,
        fitted_on="nothing",
    )
    write_card(folder, package.card.model_copy(update={"instances": instances}))
    return ModelPackage.load(folder)


def brightness_of(patch: tuple[int, ...]) -> Callable[[Path], None]:
    """Writes a network for which bright is a cell, and the brighter, the deeper within it."""
    weights = {
        "slope": np.array([0, 40, 1], np.float32).reshape(3, 1, 1, 1),
        "offset": np.array([0, -16, 0], np.float32),
    }
    graph = helper.make_graph(
        [helper.make_node("Conv", ["patches", "slope", "offset"], ["logits"])],
        "brightness",
        [helper.make_tensor_value_info("patches", TensorProto.FLOAT, ["b", 1, *patch])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", 3, *patch])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return lambda path: onnx.save(model, path)


def drawn_cells() -> np.ndarray:
    """A tile of discs that touch here and there, brightest in their middles."""
    rng, tile = np.random.default_rng(0), np.full((TILE, TILE), 20.0)
    y, x = np.mgrid[:TILE, :TILE]
    for row in range(CELL // 2, TILE, CELL):
        for column in range(CELL // 2, TILE, CELL):
            distance = np.hypot(y - row - rng.uniform(-5, 5), x - column - rng.uniform(-5, 5))
            radius = rng.uniform(9, 15)
            disc = np.where(distance < radius, 245 - 130 * distance / radius, 0)
            tile = np.maximum(tile, disc)
    return tile.astype(np.uint8)


def draw(path: Path, size: tuple[int, ...], *, cells: bool = False) -> None:
    """An image of repeated waves, or of cells, written part by part."""
    y, x = np.mgrid[:TILE, :TILE] / 40
    wave = (127 + 100 * np.sin(y) * np.cos(x)).astype(np.uint8)
    if path.suffix == ".tif":
        tile = np.stack([wave, 255 - wave, wave // 2], axis=-1)
        if cells:
            tile = drawn_cells()
        count = np.prod([-(-n // TILE) for n in size])
        tifffile.imwrite(
            path,
            (tile for _ in range(count)),
            shape=size if cells else (*size, 3),
            dtype=np.uint8,
            tile=(TILE, TILE),
            compression="zlib",
            compressionargs={"level": 1},
            photometric="minisblack" if cells else "rgb",
            bigtiff=True,
        )
        return
    plane = wave[: size[1], : size[2]]
    planes = (np.roll(plane, z, axis=1)[None] for z in range(size[0]))
    empty = np.broadcast_to(np.uint8(0), (1, *size))
    write_mask_parts(path, planes, Image(empty, spacing=(1.0, 1.0, 1.0)), "nifti")


def run_child(way: str, package: str, image: str, folder: str) -> None:
    from seg.inference import Predictor, predict_file
    from seg.inference.object_files import predict_objects_file
    from seg.model_package import ModelPackage

    predictor = Predictor(ModelPackage.load(package))
    source = Path(image)
    target = Path(folder) / f"mask{source.suffix}"
    start = time.perf_counter()
    found = {}
    if way == "objects":
        targets = {target: "instances", target.with_suffix(".geojson"): "objects-geojson"}
        targets |= {target.with_suffix(".csv"): "objects-csv"}
        cells = predict_objects_file(predictor, [source], targets)
        found = {"objects": sum(count.found for count in cells.counts.values())}
    elif way == "streamed":
        predict_file(predictor, source, target, "tiff" if source.suffix == ".tif" else "nifti")
    else:
        predict_naively(predictor, source, target)
    spent = time.perf_counter() - start, time.process_time()
    print(json.dumps({"peak_mib": peak_mib(), "seconds": spent[0], "cpu_s": spent[1], **found}))


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
        peaks = [r["peak_mib"] for r in rows if r["image"] == name and r["way"] != "naive"]
        bound = CELLS_MIB if name == "cells" else BOUND_MIB
        yield bar(f"{name}: MiB at the largest size", peaks[-1], bound, at_most=True)
        if len(peaks) > 1:
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
