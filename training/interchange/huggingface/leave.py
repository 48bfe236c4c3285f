"""A package as a repository of the Hugging Face hub; nothing is uploaded.

Source of the layout: the hub's documents of model cards, and the names that Transformers.js and
Optimum look for: ``config.json``, ``preprocessor_config.json``, ``onnx/model.onnx`` and its kin.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import yaml
from safetensors.torch import save_file

from seg.errors import SegError
from seg.files import written_whole
from seg.model_package import ModelCard, ModelPackage, Variant
from training.onnx_files.read_back import network_in

README, CONFIG, PREPARATION = "README.md", "config.json", "preprocessor_config.json"
ONNX, WEIGHTS, PACKAGE = "onnx", "model.safetensors", "package"
ENDINGS = {"float32": "", "float16": "_fp16", "int8": "_int8"}
"""Behind ``model``, by precision; other variants are called by their own names."""
UNKNOWN = "not stated"
"""As the licence of a card that names none."""
MOST_LETTERS_OF_A_LICENCE = 64


def leave_for_huggingface(package: ModelPackage, target: Path) -> list[str]:
    """Write a package as a repository, and say what its author has to add or do without."""
    card = package.card
    names = _onnx_names(card)
    said = [
        f"{PACKAGE}/golden.npz holds patches of training images: publish it "
        "only where those images may be published"
    ]
    if card.licence == UNKNOWN:
        said.append(f"before it is published, {README} needs its licence")
    with written_whole(target) as folder:
        (folder / ONNX).mkdir()
        for variant in card.variants:
            network = onnx.load(package.path / variant.file)  # with weights of other files
            onnx.save(network, folder / ONNX / names[variant.name])
        try:
            state = network_in(package, card.members()[0]).state_dict()
            tensors = {key: tensor.contiguous() for key, tensor in state.items()}
            save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        except SegError as error:
            said.append(f"without {WEIGHTS}: {error}")
        shutil.copytree(package.path, folder / PACKAGE)
        _write_json(folder / CONFIG, _config(card))
        _write_json(folder / PREPARATION, _preparation(card))
        (folder / README).write_text(_readme(card, names), encoding="utf-8")
    return said


def _onnx_names(card: ModelCard) -> dict[str, str]:
    """Each variant's file; the first to have a precision's usual name has it alone."""
    names: dict[str, str] = {}
    for variant in (card.variant(card.members()[0]), *card.variants):
        if variant.name in names:
            continue
        name = f"model{ENDINGS.get(variant.precision, '_' + variant.precision)}.onnx"
        names[variant.name] = name if name not in names.values() else _own_name(variant)
    return names


def _own_name(variant: Variant) -> str:
    return f"model_{variant.name.replace('-', '_')}.onnx"


def _config(card: ModelCard) -> dict[str, Any]:
    classes = card.classes[1:] if card.task == "regions" else card.classes
    labels = {str(number): info.name for number, info in enumerate(classes)}
    return {
        "model_type": "residual-u-net",
        "architectures": ["ResidualUNet"],
        "problem_type": "multi_label" if card.task == "regions" else "single_label",
        "num_channels": len(card.input.channels),
        "patch_size": list(card.input.patch),
        "overlap": card.input.overlap,
        "id2label": labels,
        "label2id": {name: int(number) for number, name in labels.items()},
    }


def _preparation(card: ModelCard) -> dict[str, Any]:
    """All that is done to an image before the network, by the package's own names."""
    return {
        "image_processor_type": "SegPreprocessing",
        "channels": [channel.name for channel in card.input.channels],
        "orientation": card.input.orientation,
        **card.input.preprocessing.model_dump(mode="json"),
    }


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _metadata(card: ModelCard) -> dict[str, Any]:
    modalities = {channel.modality for channel in card.input.channels} - {"unknown"}
    metrics = [
        {"type": "dice", "name": f"Dice of {name}", "value": round(score.dice, 4)}
        for name, score in card.metrics.items()
    ]
    dataset = {"name": card.provenance.dataset, "type": card.provenance.dataset}
    task = {"type": "image-segmentation"}
    results = [{"task": task, "dataset": dataset, "metrics": metrics}] if metrics else []
    return {
        **_licence(card),
        "library_name": "onnx",
        "pipeline_tag": "image-segmentation",
        "tags": ["onnx", "residual-u-net", f"{card.input.dims}d", *sorted(modalities)],
        **({"metrics": ["dice"]} if metrics else {}),
        **({"model-index": [{"name": card.name, "results": results}]} if results else {}),
    }


def _licence(card: ModelCard) -> dict[str, str]:
    """The hub knows SPDX names in small letters; others have a name of their own."""
    if card.licence == UNKNOWN:
        return {}
    if " " in card.licence or len(card.licence) > MOST_LETTERS_OF_A_LICENCE:
        return {"license": "other", "license_name": card.licence}
    return {"license": card.licence.lower()}


def _readme(card: ModelCard, names: dict[str, str]) -> str:
    shape = ", ".join(map(str, (len(card.input.channels), *card.input.patch)))
    files = "\n".join(
        f"| `{ONNX}/{file}` | {name} | {card.variant(name).precision} |"
        for name, file in names.items()
    )
    rows = [
        f"| {name} | {score.dice:.3f} | {score.interval_in_words} | {score.cases} |"
        for name, score in card.metrics.items()
    ]
    scores = "\n".join(["| class | Dice | 95 % | cases |", "| --- | --- | --- | --- |", *rows])
    metadata = yaml.safe_dump(_metadata(card), sort_keys=False, allow_unicode=True)
    return f"""---
{metadata}---

# {card.name}

A residual U-Net, version {card.version}. For {card.intended_use}.

Classes: {", ".join(info.name for info in card.classes)}. Channels:
{", ".join(channel.name for channel in card.input.channels)}.

## Validation

{scores if rows else "No scores are known: the package has none."}

On cases that the training did not see. Look at masks of your own images before you trust them.

## Files

| file | variant | precision |
| --- | --- | --- |
{files}

Each takes prepared patches `(b, {shape})` float32 and answers logits. How an image is prepared
stands in `{PREPARATION}`; `{PACKAGE}/` does all of it, from a file to a mask on the file's own
grid, and proves itself first:

    python -m seg.predict {PACKAGE} IMAGE --out masks
"""
