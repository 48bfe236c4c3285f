"""A package as a model of BioImage.IO: ``rdf.yaml`` 0.5, networks, test tensors, and all zipped.

Source of the format: the specification that bioimageio.spec checks, of bioimage.io.
"""

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import PIL.Image
import yaml
from jaxtyping import Float32
from scipy.special import expit, softmax

from seg.errors import SegError
from seg.files import sha256_of, written_whole
from seg.inference import load_backend
from seg.model_package import ModelCard, ModelPackage
from seg.transforms import Normalisation, normalise
from training.interchange.bioimageio.preprocessing import (
    as_on_scale,
    differences,
    refuse_what_has_no_words,
    steps_of,
)
from training.interchange.bioimageio.torch_script import write_torch_script

FORMAT_VERSION = "0.5.4"
RDF = "rdf.yaml"
NETWORK, SCRIPT = "weights.onnx", "weights.pt"
README, COVER = "README.md", "cover.png"
TEST_INPUT, TEST_OUTPUT = "test_input.npy", "test_output.npy"
LICENCES = ("Apache-2.0", "BSD-3-Clause", "CC-BY-4.0", "CC-BY-NC-4.0", "CC-BY-SA-4.0", "CC0-1.0",
            "MIT")  # fmt: skip
"""Of SPDX, those that data sets here have."""
COVER_WIDTH = 256


def leave_for_bioimageio(package: ModelPackage, target: Path) -> list[str]:
    """Write a package for BioImage.IO, and say what its author has to add.

    Raises:
        ConfigError: it does what the format has no words for.
    """
    card = package.card
    refuse_what_has_no_words(card)
    axes = ("z", "y", "x")[-card.input.dims :]
    rules = as_on_scale(card)
    steps = steps_of(rules, axes)
    name = card.members()[0]
    raw = _raw(package.golden(name).patches[:1], rules)
    prepared = normalise(raw[0], rules)[np.newaxis]
    logits = load_backend(package, name, provider="cpu").run(prepared)
    answer = expit(logits) if card.task == "regions" else softmax(logits, axis=1)
    with written_whole(target) as folder:
        np.save(folder / TEST_INPUT, raw)
        np.save(folder / TEST_OUTPUT, answer.astype(np.float32))
        network = onnx.load(package.path / card.variant(name).file)  # with weights of other files
        onnx.save(network, folder / NETWORK)
        (folder / COVER).write_bytes(_cover(prepared[0], answer[0], card))
        (folder / README).write_text(_readme(card), encoding="utf-8")
        opset = next(each.version for each in network.opset_import if each.domain == "")
        said: list[str] = []
        try:
            torch_version = write_torch_script(package, name, logits, prepared, folder / SCRIPT)
        except SegError as error:
            said = [f"without {SCRIPT}, by which QuPath runs a network: {error}"]
            torch_version = None
        described = _described(card, folder, steps, axes, (opset, torch_version))
        text = yaml.safe_dump(described, sort_keys=False, allow_unicode=True)
        (folder / RDF).write_text(text, encoding="utf-8")
        files = sorted(folder.iterdir())
        with zipfile.ZipFile(folder / f"{_word(card.name)}.zip", "w", zipfile.ZIP_DEFLATED) as all_:
            for file in files:
                all_.write(file, file.name)
    lacking = ["authors", "cite"] + ([] if card.licence in LICENCES else ["license"])
    return [
        *said,
        *differences(card),
        f"{TEST_INPUT} and {COVER} show a patch of a training image: publish them only where that "
        "image may be published",
        f"before it is published, {RDF} needs {', '.join(lacking)}",
    ]


def _raw(
    patches: Float32[np.ndarray, "1 c *patch"], rules: tuple[Normalisation, ...]
) -> Float32[np.ndarray, "1 c *patch"]:
    """Intensities as an image may have them, which prepared are about these patches."""
    raw = patches.copy()
    for channel, rule in enumerate(rules):
        spread, centre = 100.0, 1000.0
        if rule.kind == "clip_zscore":
            spread, centre = rule.std or 1.0, rule.mean or 0.0
        if rule.kind == "rescale":
            centre = rule.low or 0.0
            spread = (rule.high or 1.0) - centre
        raw[:, channel] = raw[:, channel] * spread + centre
    return raw


def _described(
    card: ModelCard,
    folder: Path,
    steps: list[dict[str, Any]],
    axes: tuple[str, ...],
    versions: tuple[int, str | None],
) -> dict[str, Any]:
    spec = card.input
    classes = card.classes[1:] if card.task == "regions" else card.classes
    halos = [int(size * spec.overlap / 2) for size in spec.patch]
    sizes = [
        {"type": "space", "id": axis, "size": size}
        for axis, size in zip(axes, spec.patch, strict=True)
    ]
    same = [
        {"type": "space", "id": axis, "size": {"tensor_id": "patches", "axis_id": axis}}
        | ({"halo": halo} if halo else {})
        for axis, halo in zip(axes, halos, strict=True)
    ]
    last = (
        {"id": "sigmoid"}
        if card.task == "regions"
        else {"id": "softmax", "kwargs": {"axis": "channel"}}
    )
    opset, torch_version = versions
    weights: dict[str, dict[str, Any]] = {
        "onnx": _file(folder / NETWORK) | {"opset_version": opset}
    }
    if torch_version:
        script = {"parent": "onnx", "pytorch_version": torch_version}
        weights["torchscript"] = _file(folder / SCRIPT) | script
    tolerance = {"relative_tolerance": 1e-3, "absolute_tolerance": 1e-4}
    return {
        "format_version": FORMAT_VERSION,
        "type": "model",
        "name": re.sub(r"[^\w+\-(). ]", " ", card.name).strip().ljust(5, "_")[:128],
        "description": f"Residual U-Net: {', '.join(info.name for info in card.classes[1:])}.",
        **({"license": card.licence} if card.licence in LICENCES else {}),
        "version": card.version,
        "documentation": README,
        "covers": [COVER],
        "tags": [f"unet{spec.dims}d", "semantic-segmentation", "residual-u-net"],
        "inputs": [
            {
                "id": "patches",
                "axes": [
                    {"type": "batch"},
                    _channel_axis([channel.name for channel in spec.channels]),
                    *sizes,
                ],
                "data": {"type": "float32"},
                "test_tensor": _file(folder / TEST_INPUT),
                "preprocessing": [{"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}, *steps],
            }
        ],
        "outputs": [
            {
                "id": "logits",
                "axes": [{"type": "batch"}, _channel_axis([c.name for c in classes]), *same],
                "data": {"type": "float32"},
                "test_tensor": _file(folder / TEST_OUTPUT),
                "postprocessing": [last],
            }
        ],
        "weights": weights,
        "config": {"bioimageio": {"reproducibility_tolerance": [tolerance]}},
    }


def _channel_axis(names: list[str]) -> dict[str, Any]:
    """With names that the format takes, each once."""
    words = [_word(name) for name in names]
    if len(set(words)) < len(words):
        words = [f"{word}_{number}" for number, word in enumerate(words)]
    return {"type": "channel", "channel_names": words}


def _word(name: str) -> str:
    word = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "unnamed"
    return f"c_{word}" if word[0].isdigit() else word


def _file(file: Path) -> dict[str, str]:
    return {"source": file.name, "sha256": sha256_of(file)}


def _cover(
    patch: Float32[np.ndarray, "c *patch"], answer: Float32[np.ndarray, "k *patch"], card: ModelCard
) -> bytes:
    """The first channel of the test patch beside the classes in it; of a volume its middle."""
    if card.task == "regions":
        background = 1 - answer.max(axis=0, keepdims=True)
        answer = np.concatenate([background, answer])
    labels, grey = answer.argmax(axis=0), patch[0]
    if card.input.dims == 3:
        labels, grey = labels[len(labels) // 2], grey[len(grey) // 2]
    shown = 255 * (grey - grey.min()) / max(float(np.ptp(grey)), 1e-6)
    colours = np.array([info.color for info in card.classes], np.uint8)[labels]
    both = np.concatenate([np.repeat(shown[..., None], 3, -1).astype(np.uint8), colours], axis=1)
    picture = PIL.Image.fromarray(both)
    height = COVER_WIDTH * both.shape[0] // both.shape[1]
    file = io.BytesIO()
    picture.resize((COVER_WIDTH, max(1, height)), PIL.Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def _readme(card: ModelCard) -> str:
    rows = [
        f"| {name} | {score.dice:.3f} | {score.interval_in_words} | {score.cases} |"
        for name, score in card.metrics.items()
    ]
    whole = "Images are normalised as a whole: programs that do it tile by tile get other masks."
    tell = "\n".join(f"{each[0].upper()}{each[1:]}." for each in differences(card))
    if any(rule.kind in ("zscore", "percentile", "minmax") for rule in
           card.input.preprocessing.normalisation):  # fmt: skip
        tell = f"{whole}\n{tell}".strip()
    scores = "\n".join(["| class | Dice | 95 % | cases |", "| --- | --- | --- | --- |", *rows])
    return f"""# {card.name}

A residual U-Net of the package {card.name} {card.version}. For {card.intended_use}.

Classes: {", ".join(info.name for info in card.classes)}.

{tell}

## Validation

{scores if rows else "No scores are known: the package has none."}

On cases that the training did not see. Look at masks of your own images before you trust them.
"""
