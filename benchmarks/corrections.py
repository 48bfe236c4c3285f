"""What corrections teach, and who may judge it: ``python benchmarks/corrections.py datasets/hela``.

A first model from twenty outlines is trained on with three frames more: outlined anew, as the
reference has them, or begun with the model's mask and marked where it found nothing or too much.
Both models are scored on test frames, of which all is known, and on the folder's held-back images,
one of which was drawn as the three frames were. Packages in ``--scratch`` are not trained again.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.people import drawn_folder
from benchmarks.result import bar, report
from benchmarks.studio_walk import MOST_MARKS, mistakes
from seg.images import Image, encode_image, read_channels, read_image, read_mask
from seg.inference import Predictor, load_backend
from seg.inference.repair import NO_SEED, repaired
from seg.model_package import ModelPackage
from service.studio.on_disk.drawing import Author, DrawnMask
from service.studio.on_disk.studio_folder import StudioFolder
from training.dataset import load_dataset
from training.evaluation.command_line import dataset_for
from training.evaluation.comparison import compare, on_fair_cases
from training.evaluation.evaluator import evaluate
from training.evaluation.scores import Evaluation

OUTLINES, DRAWN, CORRECTED = 20, 5, 3
KINDS = ("outlined", "marked")
AP = "ap_50"


def run(module: str, *words: object) -> None:
    """A command of ours."""
    subprocess.run([sys.executable, "-m", module, *map(str, words)], check=True)


def marked(predictor: Predictor, path: Path, truth: np.ndarray) -> np.ndarray:
    """The model's objects, with a mark on each that it missed and on each that is none."""
    image = read_channels([path], dims=2)
    _, objects = predictor.predict_with_objects(image)
    found = objects.labels.astype(np.int32)
    seeds = np.full(found.shape, NO_SEED)
    missed, wrong = mistakes(truth, found)
    for number, (y, x) in enumerate(missed[:MOST_MARKS], start=int(found.max()) + 1):
        seeds[y, x] = number
    for y, x in wrong[:MOST_MARKS]:
        seeds[y, x] = 0
    grey = image.array.astype(np.float32)
    probabilities = predictor.predict_probabilities(image)
    return np.asarray(repaired(found, seeds, probabilities, grey, are_objects=True))


def with_corrections(data: Path, begun: Path, target: Path, package: Path, kind: str) -> None:
    """The folder in which frames more are done."""
    shutil.copytree(begun, target)
    studio = StudioFolder(target)
    model = ModelPackage.load(package)
    predictor = Predictor(model, load_backend(model))
    known = {path.name.split(".")[0] for path in (begun / "images").iterdir()}
    others = [
        path
        for path in sorted((data / "imagesTr").iterdir())
        if path.name.split(".")[0].removesuffix("_0000") not in known
    ]
    for path in others[1::3][:CORRECTED]:
        stem = path.name.split(".")[0].removesuffix("_0000")
        shutil.copy(path, target / "images" / f"{stem}.tif")
        truth = read_mask(next((data / "instancesTr").glob(f"{stem}.*"))).array.astype(np.int32)
        mask = truth if kind == "outlined" else marked(predictor, path, truth)
        drawn = Image.on_grid_of(read_image(path), mask.astype(np.uint16)[np.newaxis])
        content = encode_image(drawn, "mask.tif")
        studio.keep(
            stem, DrawnMask(content=content, ending=".tif", objects={}), Author(who="bench")
        )


def scored(package: Path, data: Path, names: Sequence[str] | None = None) -> Evaluation:
    """On the test images of a folder, or on some of them."""
    model = ModelPackage.load(package)
    dataset = dataset_for(model.card, data)
    cases = [case for case in dataset.test if names is None or case.name in names]
    return evaluate(Predictor(model, load_backend(model)), dataset, cases)


def precision_of(evaluation: Evaluation) -> float:
    """AP .5 of the only class, over all objects of all cases."""
    (summary,) = evaluation.objects.values()
    return round(summary.measures[AP].value, 4)


def judged(before: Evaluation, after: Evaluation) -> dict[str, Any]:
    """AP .5 of both."""
    (found,) = [
        each for each in compare(before, after, ("a", "b")).objects if each.label == "AP .5"
    ]
    return {"before": round(found.a, 4), "after": round(found.b, 4), "images": found.cases}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="2D nnU-Net folder with instancesTr")
    parser.add_argument("--steps", type=int, default=300, help="of each training")
    parser.add_argument("--scratch", type=Path, default=Path("runs/corrections"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data, scratch, steps = options.data, options.scratch, options.steps
    begun, first = scratch / "begun", scratch / "first" / "package"
    if not first.exists():
        drawn_folder(data, begun, OUTLINES, DRAWN)
        run("training.fit", begun, "--out", first.parent, "--steps", steps)
    before = scored(first, data)
    rows: list[dict[str, Any]] = [{"what": "first model", "test": precision_of(before)}]
    for kind in KINDS:
        folder, trained = scratch / kind, scratch / f"after-{kind}"
        if not (trained / "run" / "package").exists():
            shutil.rmtree(folder, ignore_errors=True)
            with_corrections(data, begun, folder, first, kind)
            run("training.improve", folder, "--from", first, "--steps", steps, "--out", trained)
        after = trained / "run" / "package"
        names = [case.name for case in load_dataset(folder).test]
        both = scored(first, folder, names), scored(after, folder, names)
        rows.append(
            {
                "what": kind,
                "test": precision_of(scored(after, data)),
                "held_back": judged(*both),
                "drawn_without_the_model": judged(*on_fair_cases(*both)),
            }
        )
        print(rows[-1], flush=True)
    bars = [
        bar(f"AP .5 on test frames more, {row['what']}", row["test"] - rows[0]["test"], 0.0,
            at_most=False)
        for row in rows[1:]
    ]  # fmt: skip
    report("corrections", rows, bars, ["torch", "onnxruntime"], options.json)


if __name__ == "__main__":
    main()
