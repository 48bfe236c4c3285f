"""A network of segmentation-models-pytorch, from its weights and the words that built it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import segmentation_models_pytorch as smp
from torch import Tensor, nn

from seg.errors import ConfigError
from seg.files import sha256_of
from seg.model_package import Channel
from seg.transforms import Normalisation
from training.interchange.adopted_package import Adopted
from training.interchange.checkpoint import read_checkpoint
from training.interchange.described import describe_fields
from training.packaging.writer import TorchNetwork

WEIGHTS_AT = ((), ("state_dict",), ("model_state_dict",), ("model",))
"""Keys that lead to the weights, in the order in which they are tried."""
LARGEST_BYTE = 255.0
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of bytes / 255; some encoders were trained with others."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """How the network was built, and what was done to its images."""

    arch: str
    encoder: str
    classes: tuple[str, ...]
    """Background first; one name alone is a class that a sigmoid tells from background."""
    in_channels: int = 3
    patch: tuple[int, int] = (512, 512)
    normalisation: str = "imagenet"
    """``imagenet`` (bytes to 0..1, less a mean, by a deviation), ``unit`` (bytes to 0..1) or
    ``zscore``."""
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]
    regions: bool = False


def adopt_smp(file: Path, built: Built) -> tuple[Adopted, list[str]]:
    """The model, and sentences on what a user should know.

    Raises:
        ConfigError: the weights are not of that network.
    """
    alone = len(built.classes) == 1
    outputs = len(built.classes) - (built.regions and not alone)
    module = _network(built, outputs)
    weights = _weights(file)
    _fill(module, weights, file)
    names = ("background", *built.classes) if alone else built.classes
    description = describe_fields(
        {
            "name": file.stem,
            "classes": names,
            "task": "regions" if alone or built.regions else "exclusive",
            "channels": _channels(built.in_channels),
            "patch": built.patch,
            "normalisation": _normalisation(built),
        },
        "the command line",
    )
    model = Adopted(
        name=description.name,
        task=description.task,
        classes=description.class_infos,
        input=description.input_spec(built.patch),
        networks={"full": TorchNetwork(module)},
        fingerprint=description.fingerprint(2),
        source_sha256=sha256_of(file),
    )
    return model, [f"images are normalised as {built.normalisation}: was it so in training?"]


def _network(built: Built, outputs: int) -> nn.Module:
    try:
        module: nn.Module = smp.create_model(
            built.arch,
            encoder_name=built.encoder,
            encoder_weights=None,
            in_channels=built.in_channels,
            classes=outputs,
        )
    except KeyError as error:  # its words list some hundred names
        raise ConfigError(_unknown(built)) from error
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"segmentation-models-pytorch does not build {built.arch} with {built.encoder}: {error}"
        ) from error
    return module.eval()


def _unknown(built: Built) -> str:
    archs, encoders = list(smp.MODEL_ARCHITECTURES_MAPPING), smp.encoders.get_encoder_names()
    kind, name, known = "encoder", built.encoder, encoders
    if built.arch.lower() not in archs:
        kind, name, known = "architecture", built.arch, archs
    near = get_close_matches(name.lower(), known, n=3, cutoff=0.4)
    hint = f"; near to it are {', '.join(near)}" if near else ""
    timm = "; those of timm begin with tu-" if kind == "encoder" else ""
    return f"segmentation-models-pytorch knows no {kind} {name!r}{hint}{timm}"


def _weights(file: Path) -> Mapping[str, Tensor]:
    first, *others = WEIGHTS_AT
    hint = "Save the weights alone: torch.save(model.state_dict(), FILE)"
    weights = read_checkpoint(file, first, hint=hint, or_at=others).weights
    if not weights:
        raise ConfigError(f"{file} holds no weights")
    return weights


def _fill(module: nn.Module, weights: Mapping[str, Tensor], file: Path) -> None:
    """Load them, whatever module of a training loop they were saved within."""
    ours = module.state_dict()
    prefix = _shared_prefix(list(weights), list(ours))
    theirs = {n.removeprefix(prefix): t for n, t in weights.items() if n.startswith(prefix)}
    missing, shapes = sorted(set(ours) - set(theirs)), []
    unknown = sorted(set(theirs) - set(ours))
    shapes = [n for n in ours if n in theirs and ours[n].shape != theirs[n].shape]
    for what, names in (
        ("lacks", missing),
        ("has unknown", unknown),
        ("has other sizes of", shapes),
    ):
        if names:
            raise ConfigError(
                f"{file} is not of this network: it {what} {len(names)} tensors, such as "
                f"{names[0]}; check --arch, --encoder, --classes and --in-channels"
            )
    module.load_state_dict(theirs)


def _shared_prefix(theirs: Sequence[str], ours: Sequence[str]) -> str:
    last = ours[-1]
    return next((name.removesuffix(last) for name in theirs if name.endswith(last)), "")


def _channels(count: int) -> tuple[Channel, ...]:
    if count == 3:
        return tuple(Channel(name=name, modality="photo") for name in ("red", "green", "blue"))
    return tuple(Channel(name=f"channel {number}") for number in range(count))


def _normalisation(built: Built) -> tuple[Normalisation, ...]:
    if built.normalisation == "zscore":
        return (Normalisation(kind="zscore"),)
    if built.normalisation == "unit":
        return (Normalisation(kind="rescale", low=0.0, high=LARGEST_BYTE),)
    if not built.in_channels == len(built.mean) == len(built.std):
        raise ConfigError(
            f"a network of {built.in_channels} channels needs as many means and deviations, got "
            f"{len(built.mean)} and {len(built.std)}; use --mean and --std, or --normalisation "
            "zscore or unit"
        )
    return tuple(
        Normalisation(
            kind="clip_zscore",
            low=0.0,
            high=LARGEST_BYTE,
            mean=mean * LARGEST_BYTE,
            std=std * LARGEST_BYTE,
        )
        for mean, std in zip(built.mean, built.std, strict=True)
    )
