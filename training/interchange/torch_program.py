"""From a package to the files of other software, so that nobody is locked in."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from seg.files import written_whole
from seg.model_package import ModelCard, ModelPackage
from training.onnx_files.read_back import network_in
from training.onnx_files.write import SAMPLES_A_BATCH


def leave_for_torch(package: ModelPackage, target: Path) -> None:
    """Write each network as a program of torch.export, which runs without seg, and its weights."""
    card = package.card
    example = torch.from_numpy(package.golden().patches[:1].repeat(SAMPLES_A_BATCH, axis=0))
    with written_whole(target) as folder:
        for name in card.members():
            network = network_in(package, name)
            batch = torch.export.Dim("batch")
            program = torch.export.export(network, (example,), dynamic_shapes=({0: batch},))
            torch.export.save(program, folder / f"{name}.pt2")
            state = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
            save_file(state, folder / f"{name}.safetensors")
        (folder / "README.md").write_text(_readme(card), encoding="utf-8")


def _readme(card: ModelCard) -> str:
    names = ", ".join(f"`{name}.pt2`" for name in card.members())
    shape = (len(card.input.channels), *card.input.patch)
    rules = json.dumps(card.input.preprocessing.model_dump(mode="json"), indent=2)
    return f"""# {card.name}

{names}: programs of torch.export, which run without seg.

    network = torch.export.load("{card.members()[0]}.pt2").module()
    logits = network(patches)  # (b, {", ".join(map(str, shape))})

Each `.safetensors` holds the weights of a `seg.networks.ResidualUNet`. Images are prepared so:

    {rules.replace(chr(10), chr(10) + "    ")}
"""
