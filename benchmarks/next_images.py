"""Images chosen by rank beside images chosen at random: ``python benchmarks/next_images.py DATA``.

For each seed two images at random make a first package, which ranks the others. Then one is trained
on a third of all training images, chosen by rank, and one on half of them, chosen at random, with
as many steps; both are evaluated on the test images. With ``--control`` also a third at random.
What is done lies in ``--scratch``: a run that was stopped goes on.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import tifffile

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.result import bar, report
from seg.files import replace_file
from seg.images import read_channels
from seg.inference import Predictor, load_backend
from seg.inference.trust.worth import ranked
from seg.model_package import ModelPackage
from training.evaluation.trust.ranking import look_at

FIRST = 2
"""Images that somebody annotates before anything is known."""
WAYS = ("third by rank", "half at random")
CONTROL = "third at random"


def thinned(data: Path, target: Path) -> Path:
    """Every second pixel of a nnU-Net folder in 2D or of slices: four times as fast."""
    if (target / "dataset.json").is_file():
        return target
    for folder in ("imagesTr", "labelsTr", "instancesTr", "imagesTs", "labelsTs", "instancesTs"):
        (target / folder).mkdir(parents=True, exist_ok=True)
        for path in (data / folder).iterdir() if (data / folder).is_dir() else ():
            if path.name.endswith(".nii.gz"):
                nibabel.save(nibabel.load(path).slicer[::2, ::2], target / folder / path.name)
            else:
                tifffile.imwrite(target / folder / path.name, tifffile.imread(path)[::2, ::2])
    shutil.copy(data / "dataset.json", target / "dataset.json")
    return target


def cases_of(data: Path) -> dict[str, list[Path]]:
    """Image files of each training case of a nnU-Net folder."""
    found: dict[str, list[Path]] = {}
    for path in sorted((data / "imagesTr").iterdir()):
        stem = path.name.removesuffix("".join(path.suffixes[-2:] if path.name.endswith(".gz")
                                              else path.suffixes[-1:]))  # fmt: skip
        found.setdefault(stem[:-5], []).append(path)
    return found


def part_of(data: Path, names: Sequence[str], target: Path) -> Path:
    """The same folder with some of its training cases."""
    shutil.rmtree(target, ignore_errors=True)
    for folder in ("imagesTr", "labelsTr", "instancesTr"):
        if not (data / folder).is_dir():
            continue
        (target / folder).mkdir(parents=True)
        for path in (data / folder).iterdir():
            if any(path.name.startswith((f"{name}_", f"{name}.")) for name in names):
                (target / folder / path.name).symlink_to(path.resolve())
    for folder in ("imagesTs", "labelsTs", "instancesTs"):
        if (data / folder).is_dir():
            (target / folder).symlink_to((data / folder).resolve())
    card = json.loads((data / "dataset.json").read_text())
    card["numTraining"] = len(names)
    (target / "dataset.json").write_text(json.dumps(card))
    return target


def fitted(data: Path, names: Sequence[str], out: Path, seed: int, chosen: list[str]) -> Path:
    """A package of some of the cases."""
    if not (out / "package" / "model.json").is_file():
        shutil.rmtree(out, ignore_errors=True)
        folder = part_of(data, names, out.with_name(f"{out.name}-data") / data.name)
        command = ["training.fit", str(folder), "--out", str(out), "--seed", str(seed), *chosen]
        subprocess.run([sys.executable, "-m", *command], check=True)
        shutil.rmtree(out / "cache", ignore_errors=True)
    return out / "package"


def scored(data: Path, package: Path, out: Path) -> dict[str, float]:
    """Mean Dice of the classes, and mean AP .5 of their objects, on test images."""
    if not out.is_file():
        command = ["training.evaluate", str(package), str(data), "--split", "test"]
        subprocess.run([sys.executable, "-m", *command, "--out", str(out)], check=True)
    read = json.loads(out.read_text())
    scores = {"dice": float(np.mean([each["dice"] for each in read["summary"].values()]))}
    found = [each["measures"]["ap_50"]["value"] for each in read.get("objects", {}).values()]
    if found:
        scores["ap_50"] = float(np.mean(found))
    return scores


def ordered(cases: dict[str, list[Path]], known: Sequence[str], package: Path) -> list[str]:
    """The other cases, the one that is worth most first."""
    loaded = ModelPackage.load(package)
    predictor = Predictor(loaded, load_backend(loaded, provider="cpu"))
    dims = loaded.card.input.dims
    looks = {
        name: look_at(predictor, read_channels(files, dims=dims)) for name, files in cases.items()
    }
    left = {name: look for name, look in looks.items() if name not in known}
    return [each.name for each in ranked(left, [looks[name].described for name in known])]


def compared(
    data: Path, seed: int, scratch: Path, chosen: list[str], ways: Sequence[str]
) -> list[dict[str, Any]]:
    """A row for each way of choosing."""
    cases = cases_of(data)
    names = sorted(cases)
    shuffled = [str(name) for name in np.random.default_rng(seed).permutation(names)]
    first = sorted(shuffled[:FIRST])
    here = scratch / data.name / f"seed-{seed}"
    third, half = round(len(names) / 3), round(len(names) / 2)
    order_file = here / "order.json"
    if not order_file.is_file():
        package = fitted(data, first, here / "first", seed, chosen)
        replace_file(order_file, json.dumps(ordered(cases, first, package)).encode())
    order = json.loads(order_file.read_text())
    groups = {
        "third by rank": first + order[: third - FIRST],
        "half at random": shuffled[:half],
        CONTROL: shuffled[:third],
    }
    rows = []
    for way in ways:
        out = here / way.replace(" ", "-")
        scores_file = here / f"{out.name}.json"
        package = out / "package"
        if not scores_file.is_file():
            package = fitted(data, groups[way], out, seed, chosen)
        scores = scored(data, package, scores_file)
        rows.append(
            {"data": data.name, "seed": seed, "way": way, "images": len(groups[way]), **scores}
        )
        print(rows[-1], flush=True)
    return rows


def summary(
    rows: list[dict[str, Any]], measure: str, ways: Sequence[str] = WAYS
) -> tuple[float, float]:
    """Mean over seeds of what the first way has more than the second, and half its interval."""
    by = {(row["way"], row["seed"]): row[measure] for row in rows if measure in row}
    seeds = sorted({seed for _, seed in by})
    gains = [by[ways[0], seed] - by[ways[1], seed] for seed in seeds]
    spread = np.std(gains, ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else np.nan
    return float(np.mean(gains)), float(4.303 * spread)  # Student's t of three seeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="+", help="nnU-Net folders")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--control", action="store_true", help="a third at random as well")
    parser.add_argument("--thin", action="store_true", help="every second pixel of the images")
    parser.add_argument("--scratch", type=Path, default=Path("runs/next-images"))
    parser.add_argument("--json", type=Path)
    options, fit = parser.parse_known_args()  # what is not known here is an option of training.fit
    chosen = fit or ["--steps", "150", "--network", "resunet-xs"]
    ways = (*WAYS, CONTROL) if options.control else WAYS
    rows: list[dict[str, Any]] = []
    bars = []
    for each in options.data:
        data = thinned(each, options.scratch / "thinned" / each.name) if options.thin else each
        of_data = [
            row
            for seed in range(options.seeds)
            for row in compared(data, seed, options.scratch, chosen, ways)
        ]
        rows += of_data
        for other, measure in product(ways[1:], ("dice", "ap_50")):
            if measure in of_data[0]:
                gain, within = summary(of_data, measure, (ways[0], other))
                what = f"{data.name}: {measure}, {ways[0]} less {other}"
                rows.append({"what": what, "mean": gain, "ci95": [gain - within, gain + within]})
                bars.append(bar(what, gain, 0.0, at_most=False))
    report("next_images", rows, bars, ["torch", "onnxruntime"], options.json)


if __name__ == "__main__":
    main()
