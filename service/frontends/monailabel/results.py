"""Answers as MONAI Label gives them: a file, JSON, or both as a form."""

import io
import json
import secrets
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from seg.images import ClassInfo, Image, Mask, encode_image, encode_mask
from service.frontends.monailabel.numbering import Numbering
from service.problems.response import Problem

MASK, SUMMARY = "mask.nii.gz", "mask.json"
"""What ``POST /segment?format=nifti,json`` puts into its ZIP file."""


@dataclass(frozen=True)
class FileKind:
    """How a mask is written."""

    ending: str
    dtype: str | None
    """Of its numbers; None is the smallest that holds them."""
    packed: bool


def parts_of(archive: bytes) -> tuple[bytes, Mapping[str, Any]]:
    """The mask and its summary, from a ZIP file of the service."""
    with zipfile.ZipFile(io.BytesIO(archive)) as parts:
        return parts.read(MASK), json.loads(parts.read(SUMMARY))


def mask_file(grid: Image, numbering: Numbering, background: ClassInfo, kind: FileKind) -> bytes:
    """A mask of the service, its classes numbered anew, on the grid that it had."""
    numbers = numbering.apply(grid.array[0])
    if kind.ending in (".seg.nrrd", ".png"):
        mask = Mask.on_grid_of(grid, numbers)
        format = {".seg.nrrd": "nrrd", ".png": "png"}[kind.ending]
        return encode_mask(mask, format, numbering.renumbered(background))
    typed = numbers.astype(np.dtype(kind.dtype or "uint8"))
    image = Image.on_grid_of(grid, typed[np.newaxis])
    return encode_image(image, f"mask{kind.ending}", zipped=kind.packed)


def described(
    summary: Mapping[str, Any], labels: Mapping[str, int], model: str, seconds: float
) -> dict[str, Any]:
    """What a client shows beside the mask: its classes, times, and what the model knows of it."""
    quality = summary.get("quality", {})
    return {
        "label_names": dict(labels),
        "latencies": {"total": round(seconds, 3)},
        "centroids": {},
        "model": model,
        "predicted_dice": {
            name: entry["dice"] for name, entry in quality.get("predicted_dice", {}).items()
        },
        "warnings": quality.get("warnings", []),
        "use": "research software, not a medical device",
    }


def as_form(params: Mapping[str, Any], body: bytes, ending: str) -> tuple[bytes, str]:
    """Both as a form, and its content type; clients tell files from fields by their file name.

    The name is another one each time: clients keep the file under it.
    """
    boundary = secrets.token_hex(16)
    name = f"mask-{secrets.token_hex(6)}{ending}"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="params"\r\n'
        f"Content-Type: application/json\r\n\r\n{json.dumps(params)}\r\n"
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    whole = b"".join((head.encode(), body, f"\r\n--{boundary}--\r\n".encode()))
    return whole, f"multipart/form-data; boundary={boundary}"


OUTPUTS = ("image", "json", "all", "dicom_seg")


def output_of(text: str | None) -> str:
    """Which form of answer is wanted.

    Raises:
        Problem: 422, there is no such form.
    """
    output = text or "all"
    if output not in OUTPUTS:
        raise Problem(422, f"output is one of {', '.join(OUTPUTS)}, got {output[:40]!r}")
    return output


def mean_dice(summary: bytes) -> float | None:
    """The mean of what a model predicts for its classes; None where it predicts nothing."""
    dice = json.loads(summary).get("quality", {}).get("predicted_dice", {})
    return sum(entry["dice"] for entry in dice.values()) / len(dice) if dice else None
