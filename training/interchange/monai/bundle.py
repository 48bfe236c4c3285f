"""A trained network as a MONAI bundle, so that MONAI's users can load and go on with it.

The bundle names the network by its class in ``seg.networks``: it loads where seg is installed.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from seg.files import written_whole
from seg.images import ClassInfo
from seg.model_package import Channel, ModelCard, Task
from seg.networks import ResidualUNet
from seg.transforms import Preprocessing
from seg.version import VERSION
from training.run.job import TrainingJob

CONFIG_FILE = Path("configs") / "inference.json"
METADATA_FILE = Path("configs") / "metadata.json"
MODEL_FILE = Path("models") / "model.pt"
README_FILE = Path("docs") / "README.md"


@dataclass(frozen=True)
class Facts:
    """What a bundle says beside its weights."""

    name: str
    task: Task
    classes: tuple[ClassInfo, ...]
    channels: tuple[Channel, ...]
    patch: tuple[int, ...]
    overlap: float
    preprocessing: Preprocessing
    licence: str
    orientation: str | None = None

    @classmethod
    def of_job(cls, job: TrainingJob) -> "Facts":
        """Those of a run."""
        plan, dataset = job.plan, job.dataset
        return cls(
            dataset.name,
            dataset.legend.task,
            dataset.classes,
            dataset.channels,
            plan.patch,
            plan.usual_overlap,
            plan.preprocessing,
            dataset.licence,
            plan.orientation,
        )

    @classmethod
    def of_card(cls, card: ModelCard) -> "Facts":
        """Those of a package."""
        spec = card.input
        return cls(
            card.name,
            card.task,
            card.classes,
            spec.channels,
            spec.patch,
            spec.overlap,
            spec.preprocessing,
            card.licence,
            spec.orientation,
        )


def write_bundle(network: ResidualUNet, facts: Facts, target: Path) -> None:
    """Write ``configs/``, ``models/model.pt`` (a state dict) and ``docs/``, whole or not at all.

    Args:
        network: trained, on any device.
        facts: say on what, and how images are prepared.
        target: folder of the bundle.
    """
    # weights that were learnt take the place of those that the encoder began with
    config = replace(network.config, weights=None)
    state = {name: weight.detach().cpu() for name, weight in network.state_dict().items()}
    content = io.BytesIO()
    torch.save(state, content)
    with written_whole(target) as folder:
        for file, data in {
            CONFIG_FILE: _as_json(_inference(asdict(config), facts)),
            METADATA_FILE: _as_json(_metadata(facts)),
            MODEL_FILE: content.getvalue(),
            README_FILE: _readme(facts).encode(),
        }.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_bytes(data)


def _as_json(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=2) + "\n").encode()


def _inference(config: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    network = {name: _expression(value) for name, value in config.items()}
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": {
            "_target_": "seg.networks.ResidualUNet",
            "config": {"_target_": "seg.networks.UNetConfig", **network},
        },
        "network": "$@network_def.to(@device).eval()",
        "checkpoint": f"$@bundle_root + '/{MODEL_FILE.as_posix()}'",
        "weights": "$@network.load_state_dict("
        "torch.load(@checkpoint, map_location=@device, weights_only=True))",
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": list(facts.patch),
            "overlap": facts.overlap,
            "mode": "gaussian",
        },
    }


def _expression(value: Any) -> Any:
    """Tuples stay tuples: MONAI's parser would make lists of them."""
    return f"${value!r}" if isinstance(value, tuple) else value


def _metadata(facts: Facts) -> dict[str, Any]:
    regions = facts.task == "regions"
    classes = [info.name for info in facts.classes[1 if regions else 0 :]]
    channels = facts.channels
    shared = {"modality": "n/a", "spatial_shape": list(facts.patch), "dtype": "float32"}
    return {
        "version": "0.1.0",
        "changelog": {"0.1.0": "exported"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").split("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {"seg": VERSION},
        "name": facts.name,
        "task": "segmentation",
        "description": f"Residual U-Net trained on {facts.name}; needs the package seg.",
        "authors": "not stated",
        "copyright": "not stated",
        "license": facts.licence,
        "intended_use": "research; not a medical device",
        "preprocessing": facts.preprocessing.model_dump(mode="json"),
        "orientation": facts.orientation,
        "network_data_format": {
            "inputs": {
                "image": {
                    **shared,
                    "type": "image",
                    "format": "magnitude",
                    "num_channels": len(channels),
                    "value_range": [],
                    "is_patch_data": True,
                    "channel_def": _numbered([channel.name for channel in channels]),
                }
            },
            "outputs": {
                "pred": {
                    **shared,
                    "type": "image",
                    "format": "logits",
                    "num_channels": len(classes),
                    "value_range": [],
                    "is_patch_data": True,
                    "channel_def": _numbered(classes),
                }
            },
        },
    }


def _numbered(names: Sequence[str]) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(names)}


def _readme(facts: Facts) -> str:
    axes = "z, y, x" if len(facts.patch) == 3 else "y, x"
    meaning = (
        "Each channel of the logits is one region; a sigmoid gives its probability."
        if facts.task == "regions"
        else "A softmax over the channels of the logits gives the probabilities of the classes."
    )
    return f"""# {facts.name}

A residual U-Net as a MONAI bundle. The network is a class of the package seg, which must be
installed.

    from monai.bundle import load
    network = load("NAME", bundle_dir="FOLDER", workflow_type="inference", source="local")

It takes float32 patches of {" x ".join(map(str, facts.patch))} voxels, axes (batch, channel,
{axes}): MONAI's NIfTI reader gives (x, y, z), so transpose. Sizes may differ as long as every stage
divides them. {meaning}

`preprocessing` in configs/metadata.json says how intensities and spacing (mm, same axis order) were
prepared in training; `seg.transforms.prepare` does just that.
"""
