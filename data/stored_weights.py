"""Weights that a package stores as torch does, rewritten as safetensors in timm's names."""

from pathlib import Path
from typing import TYPE_CHECKING

from data.card import StoredWeights
from seg.errors import DatasetError

if TYPE_CHECKING:
    from torch import Tensor

ENCODER_FILE = "encoder.safetensors"


def rewrite(weights: StoredWeights, folder: Path, *, source: str, licence: str) -> None:
    """Replace the file by ``encoder.safetensors``, which says where it is from and its licence.

    Both programs list their layers in forward order, so that names follow from the order; every
    shape is compared.

    Raises:
        DatasetError: torch and timm are not installed, or it is another network.
    """
    try:
        import safetensors.torch
        import timm
        import torch
    except ImportError as error:
        raise DatasetError(
            f"weights need torch and timm ({error}); install seg with its extra `train`"
        ) from error
    file = folder / weights.file
    stored = _tensors(torch.load(file, map_location="cpu", weights_only=True))
    wanted = _tensors(timm.create_model(weights.architecture).state_dict())
    pairs = list(zip(stored.items(), wanted.items(), strict=False))
    if len(stored) != len(wanted) or any(a.shape != b.shape for (_, a), (_, b) in pairs):
        raise DatasetError(f"{weights.file} does not hold the weights of {weights.architecture}")
    renamed = {name: tensor.contiguous() for (_, tensor), (name, _) in pairs}
    about = {"source": source, "licence": licence}
    safetensors.torch.save_file(renamed, folder / ENCODER_FILE, metadata=about)
    file.unlink()


def _tensors(state: "dict[str, Tensor]") -> "dict[str, Tensor]":
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
