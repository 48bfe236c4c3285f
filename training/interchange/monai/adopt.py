"""A MONAI bundle: its network, and those of its transforms that packages have.

A bundle's configuration can run any Python (``$...``). Nothing of it is run here: a network must
be one of MONAI's own, or seg's, with plain values as arguments.
"""

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import monai.networks.nets
import yaml
from jaxtyping import Float
from pydantic import ValidationError
from torch import Tensor, nn

from seg.errors import ConfigError
from seg.files import sha256_of
from seg.images.grid.orientation import are_axis_codes
from seg.model_package import InputSpec
from seg.networks import ResidualUNet, UNetConfig
from seg.transforms import Preprocessing
from seg.verbs import called
from training.interchange.adopted_package import Adopted
from training.interchange.checkpoint import read_checkpoint
from training.interchange.described import Description, describe_fields
from training.interchange.monai.transforms import BundlePreparation, left_out, prepared_by
from training.packaging.writer import TorchNetwork

CONFIGS = ("inference.json", "inference.yaml", "inference.yml")
NETWORKS = ("network_def", "net_def", "network", "net")
OURS = "seg.networks."


class Turned(nn.Module):
    """A network whose axes are (x, y, z), for patches of (z, y, x)."""

    def __init__(self, network: nn.Module, dims: int) -> None:
        super().__init__()
        self.network = network
        self.order = (0, 1, *reversed(range(2, 2 + dims)))

    def forward(self, x: Float[Tensor, "b c *patch"]) -> Float[Tensor, "b k *patch"]:
        """Return logits."""
        logits: Tensor = self.network(x.permute(self.order))
        return logits.permute(self.order)


def adopt_monai(folder: Path, *, patch: Sequence[int] | None = None) -> tuple[Adopted, list[str]]:
    """The model, and sentences on what a user should know.

    Args:
        folder: with ``configs`` and ``models``.
        patch: in the order (z, y, x); the bundle's own where not given.

    Raises:
        ConfigError: the folder is none, or has something that packages cannot hold.
    """
    config, metadata = _read(folder)
    module, turned = _network(config)
    file = next(
        (
            f
            for f in (folder / "models" / n for n in ("model.safetensors", "model.pt"))
            if f.is_file()
        ),
        folder / "models" / "model.pt",
    )
    _fill(module, file)
    prepared = prepared_by(_transforms(config, "preprocessing"))
    dims = _dims(config, metadata)
    edges = tuple(patch) if patch else _patch(config, metadata, dims)
    description = _description(folder, metadata, config, prepared, edges)
    spec = description.input_spec(edges)
    spec = spec.model_copy(update={"orientation": _orientation(prepared, dims)})
    model = Adopted(
        name=description.name,
        task=description.task,
        classes=description.class_infos,
        input=_as_saved(spec, config, metadata),
        networks={"full": TorchNetwork(Turned(module, dims) if turned else module)},
        fingerprint=description.fingerprint(dims),
        licence=description.licence,
        source_sha256=sha256_of(file),
    )
    remarks = ["the bundle is for research unless its licence says more"]
    if prepared.spacing:
        remarks.append("images are resampled by cubic interpolation; MONAI's default is linear")
    missing = left_out(_transforms(config, "postprocessing"))
    if missing:
        remarks.append(f"postprocessing that is left out: {', '.join(missing)}")
    return model, remarks


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    configs = folder / "configs"
    file = next((configs / name for name in CONFIGS if (configs / name).is_file()), None)
    if file is None:
        raise ConfigError(f"{folder} is no MONAI bundle: it has no configs/{' or '.join(CONFIGS)}")
    contents = []
    for each in (file, configs / "metadata.json"):
        try:
            text = each.read_text(encoding="utf-8")
            content = json.loads(text) if each.suffix == ".json" else yaml.safe_load(text)
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise ConfigError(f"{each} cannot be read: {error}") from error
        if not isinstance(content, dict):
            raise ConfigError(f"{each} holds no fields")
        contents.append(content)
    return contents[0], contents[1]


def _network(config: Mapping[str, Any]) -> tuple[nn.Module, bool]:
    """The network, and whether its axes are MONAI's."""
    key = next((k for k in NETWORKS if isinstance(config.get(k), dict)), None)
    if key is None:
        raise ConfigError(f"the bundle's configuration has no network: {', '.join(NETWORKS)}")
    fields = {name: _plain(value, config) for name, value in config[key].items()}
    target = str(fields.pop("_target_", ""))
    if target.startswith(OURS):
        inner = {k: v for k, v in fields["config"].items() if k != "_target_"}
        return ResidualUNet(replace(UNetConfig(**inner), weights=None)), False
    name = target.rpartition(".")[2]
    kind = getattr(monai.networks.nets, name, None)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ConfigError(
            f"the bundle's network is {target or 'not named'}, which is none of MONAI's own; "
            f"export it to ONNX and use `{called('training.adopt', 'onnx')}`"
        )
    try:
        return kind(**fields).eval(), True
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"MONAI cannot build {name} of {fields}: {error}") from error


def _plain(value: Any, config: Mapping[str, Any]) -> Any:
    """A value, a reference to one (``@name``), or a literal (``$(1, 2)``)."""
    if isinstance(value, dict):
        return {name: _plain(each, config) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, config) for each in value]
    if isinstance(value, str) and value.startswith("@"):
        if value[1:] not in config:
            raise ConfigError(f"the bundle's configuration refers to {value}, which is not there")
        return _plain(config[value[1:]], config)
    if isinstance(value, str) and value.startswith("$"):
        try:
            return ast.literal_eval(value[1:])
        except (ValueError, SyntaxError) as error:
            raise ConfigError(
                f"the bundle's network needs {value}, which would have to be run; write the value"
            ) from error
    return value


def _fill(module: nn.Module, file: Path) -> None:
    checkpoint = read_checkpoint(
        file, hint="Save the weights alone: torch.save(network.state_dict(), 'models/model.pt')"
    )
    try:
        module.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        raise ConfigError(
            f"{file} does not fit the network of the bundle: {str(error).splitlines()[1].strip()}"
        ) from error


def _transforms(config: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = config.get(key) or {}
    steps = found.get("transforms", []) if isinstance(found, dict) else found
    return [step for step in steps if isinstance(step, dict) and not step.get("_disabled_")]


def _orientation(prepared: BundlePreparation, dims: int) -> str | None:
    """What the bundle turns images to; packages do the same."""
    if prepared.orientation is not None and not are_axis_codes(prepared.orientation, dims):
        raise ConfigError(
            f"the bundle turns images to {prepared.orientation!r}, which are no axis codes of "
            f"{dims} dimensions"
        )
    return prepared.orientation


def _dims(config: Mapping[str, Any], metadata: Mapping[str, Any]) -> int:
    for place in (_of_inferer(config), _of_metadata(metadata)):
        if place:
            return len(place)
    raise ConfigError("the bundle names no patch; say it with --patch, in the order z y x")


def _patch(config: Mapping[str, Any], metadata: Mapping[str, Any], dims: int) -> tuple[int, ...]:
    found = _of_inferer(config) or _of_metadata(metadata) or []
    if len(found) != dims or not all(isinstance(n, int) and n > 0 for n in found):
        raise ConfigError(f"the bundle's patch is {found}; say it with --patch, in the order z y x")
    return tuple(found) if _is_ours(config) else tuple(reversed(found))


def _is_ours(config: Mapping[str, Any]) -> bool:
    key = next((k for k in NETWORKS if isinstance(config.get(k), dict)), "")
    return str(config.get(key, {}).get("_target_", "")).startswith(OURS)


def _of_inferer(config: Mapping[str, Any]) -> list[Any]:
    inferer = config.get("inferer")
    roi = inferer.get("roi_size") if isinstance(inferer, dict) else None
    roi = _plain(roi, config)
    return list(roi) if isinstance(roi, list | tuple) else []


def _of_metadata(metadata: Mapping[str, Any]) -> list[Any]:
    image = metadata.get("network_data_format", {}).get("inputs", {}).get("image", {})
    shape = image.get("spatial_shape")
    return list(shape) if isinstance(shape, list) else []


def _description(
    folder: Path,
    metadata: Mapping[str, Any],
    config: Mapping[str, Any],
    prepared: BundlePreparation,
    patch: tuple[int, ...],
) -> Description:
    formats = metadata.get("network_data_format", {})
    outputs: dict[str, Any] = next(iter(formats.get("outputs", {}).values()), {})
    inputs: dict[str, Any] = next(iter(formats.get("inputs", {}).values()), {})
    classes = _numbered(outputs.get("channel_def"), "outputs")
    channels = _numbered(inputs.get("channel_def") or {"0": "image"}, "inputs")
    regions = any(step.get("sigmoid") for step in _transforms(config, "postprocessing")) or (
        _is_ours(config) and classes[0] != "background"
    )
    overlap = (config.get("inferer") or {}).get("overlap", 0.25)
    spacing = prepared.spacing and tuple(reversed(prepared.spacing))
    normalisation = prepared.normalisation
    if _is_ours(config):
        normalisation = ({"kind": "zscore"},) * len(channels)
    modality = str(inputs.get("modality", "unknown"))
    return describe_fields(
        {
            "name": str(metadata.get("name") or folder.name),
            "classes": ["background", *classes] if regions else classes,
            "task": "regions" if regions else "exclusive",
            "channels": [{"name": name, "modality": modality} for name in channels],
            "patch": patch,
            "overlap": overlap if isinstance(overlap, float) else 0.25,
            "spacing": spacing,
            "normalisation": normalisation or ({"kind": "rescale", "low": 0.0, "high": 1.0},),
            "licence": str(metadata.get("license") or metadata.get("copyright") or "not stated"),
        },
        f"{folder}/configs",
    )


def _as_saved(spec: InputSpec, config: Mapping[str, Any], metadata: Mapping[str, Any]) -> InputSpec:
    """Our own bundles say all of their preprocessing."""
    if not _is_ours(config):
        return spec
    try:
        saved = Preprocessing.model_validate(metadata.get("preprocessing"))
    except ValidationError as error:
        raise ConfigError("metadata.json has no preprocessing as seg writes it") from error
    orientation = metadata.get("orientation")
    if orientation is not None and not are_axis_codes(str(orientation), spec.dims):
        raise ConfigError(f"metadata.json names an orientation that is none: {orientation!r}")
    return spec.model_copy(update={"preprocessing": saved, "orientation": orientation})


def _numbered(names: Any, where: str) -> list[str]:
    if not isinstance(names, dict) or not names:
        raise ConfigError(f"metadata.json names no channel_def of its {where}")
    return [str(names[key]) for key in sorted(names, key=int)]
