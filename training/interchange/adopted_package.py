"""What a package holds of an adopted model. Letters: ``b`` batch, ``c`` channels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from seg.errors import ConfigError
from seg.held_folders import check_new
from seg.images import ClassInfo, read_channels
from seg.images.grid.orientation import are_axis_codes, axis_codes, turn_to, turned_image
from seg.inference.tiling.sliding_window import window_starts
from seg.model_package import (
    Averaging,
    InputSpec,
    ModelCard,
    ModelPackage,
    Postprocessing,
    Provenance,
    Task,
    TrainingFingerprint,
)
from seg.model_package.sides import sided_classes
from seg.predict.cases import CaseSearch, find_cases
from seg.transforms import prepare, surround
from training.packaging.card import UNWRITTEN, unwritten, versions_of
from training.packaging.faster_ways import measured_on_images
from training.packaging.writer import Network, write_networks

GOLDEN_SAMPLES = 3
LIBRARIES = ("seg", "torch", "onnx", "onnxruntime-gpu")


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """A model of another program, in our words."""

    name: str
    task: Task
    classes: tuple[ClassInfo, ...]
    input: InputSpec
    networks: Mapping[str, Network]
    """By the name of their variant; several are an ensemble."""
    fingerprint: TrainingFingerprint
    averaging: Averaging = "probabilities"
    postprocessing: Postprocessing = field(default_factory=Postprocessing)
    licence: str = "not stated"
    source_sha256: str
    """Of what was adopted."""


def write_adopted(
    model: Adopted,
    target: Path,
    command: str,
    images: Path | None = None,
    stored_as: str | None = None,
    overlap: float | None = None,
) -> tuple[ModelPackage, float]:
    """Write the package, whole or not at all; with it the largest error of a probability.

    Args:
        model: to write.
        target: a new folder.
        command: that was given, for the card.
        images: a folder from whose images the golden samples are cut; noise where not given. They
            also tell the orientation of a model that does not, where they have one.
        stored_as: axis codes of the images that the model was trained on, where it turned none.
        overlap: of windows; the model's own where not given.

    Raises:
        ConfigError: the target is there already, or two classes have one name.
        DatasetError: there is no image.
        BackendError: ONNX and network disagree.
    """
    check_new(target)
    names = [info.name for info in model.classes]
    if len(set(names)) < len(names):
        raise ConfigError(f"each class needs a name of its own, got {', '.join(names)}")
    spec = _placed(model, images, stored_as)
    if overlap is not None:
        spec = spec.model_copy(update={"overlap": overlap})
    model = replace(model, input=spec)
    patches = patches_of(images, model.input) if images else _noise(model.input)
    # without masks a precision is measured against the model's own float32
    measure = partial(measured_on_images, images=images) if images else None
    written = write_networks(
        model.networks, _card(model, command), patches, target, measure=measure
    )
    return written.package, written.error


def _card(model: Adopted, command: str) -> ModelCard:
    now = datetime.now(UTC)
    names = tuple(model.networks)
    return ModelCard(
        name=model.name,
        version=now.strftime("%Y%m%d.%H%M%S"),
        task=model.task,
        classes=model.classes,
        input=model.input,
        postprocessing=model.postprocessing,
        variants=tuple(map(unwritten, names)),
        ensemble=names if len(names) > 1 else (),
        averaging=model.averaging,
        golden_sha256=UNWRITTEN,
        fingerprint=model.fingerprint,
        provenance=Provenance(
            created=now.isoformat(timespec="seconds"),
            seed=0,
            dataset=model.name,
            dataset_sha256=model.source_sha256,
            command=command,
            versions=versions_of(LIBRARIES),
        ),
        licence=model.licence,
    )


def _placed(model: Adopted, images: Path | None, stored_as: str | None) -> InputSpec:
    """With the voxel order of the training as far as it is known, and without mirrored sides."""
    spec = model.input
    if stored_as is not None and not are_axis_codes(stored_as, spec.dims):
        raise ConfigError(
            f"--stored-as needs {spec.dims} axis codes such as {'RAS'[: spec.dims]}, got "
            f"{stored_as!r}"
        )
    orientation = spec.orientation or stored_as or (_common_order(images, spec) if images else None)
    spec = spec.model_copy(update={"orientation": orientation})
    if spec.mirror_axes is None or not sided_classes([info.name for info in model.classes[1:]]):
        return spec
    kept = tuple(axis for axis in spec.mirror_axes if axis != spec.between_sides)
    return spec.model_copy(update={"mirror_axes": kept})


def _common_order(images: Path, spec: InputSpec) -> str | None:
    """The axis codes of some images, if all of them have the same."""
    cases = find_cases([images], CaseSearch(channels=len(spec.channels), dims=spec.dims))
    chosen = {cases[i * len(cases) // GOLDEN_SAMPLES].files for i in range(GOLDEN_SAMPLES)}
    orders = {axis_codes(read_channels(files, dims=spec.dims)) for files in chosen}
    return orders.pop() if len(orders) == 1 else None


def _noise(spec: InputSpec) -> Float32[np.ndarray, "b c *patch"]:
    """Normalised intensities without any image: no network says the same to all of them."""
    rng = np.random.default_rng(0)
    shape = (GOLDEN_SAMPLES, len(spec.channels), *spec.patch)
    return rng.normal(size=shape).astype(np.float32)


def patches_of(images: Path, spec: InputSpec) -> Float32[np.ndarray, "b c *patch"]:
    """The middle windows of some images, as the network would see them."""
    cases = find_cases([images], CaseSearch(channels=len(spec.channels), dims=spec.dims))
    chosen = [cases[i * len(cases) // GOLDEN_SAMPLES] for i in range(GOLDEN_SAMPLES)]
    return np.stack([_middle_window(case.files, spec) for case in chosen])


def _middle_window(files: Sequence[Path], spec: InputSpec) -> Float32[np.ndarray, "c *patch"]:
    image = read_channels(files, dims=spec.dims)
    turned = turned_image(image, turn_to(image, spec.orientation))
    array = prepare(turned, spec.preprocessing).array
    array = surround(array, (0,) * len(spec.patch), spec.patch)
    starts = [window_starts(n, p, 0.5) for n, p in zip(array.shape[1:], spec.patch, strict=True)]
    window = tuple(
        slice(s[len(s) // 2], s[len(s) // 2] + p) for s, p in zip(starts, spec.patch, strict=True)
    )
    return np.ascontiguousarray(array[(slice(None), *window)])
