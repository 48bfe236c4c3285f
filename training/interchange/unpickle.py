"""Reads a checkpoint that may be hostile, in a process of its own: tensors and plain values only.

``checkpoint.py`` starts this file by itself, without the rest of the package. It writes the tensors
as safetensors and prints one line of JSON: what else is asked for, or why it could not be.
"""

import json
import pickle
import re
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

PLAIN = (str, int, float, bool, type(None))


def allowed() -> list[Any]:
    """Types that hold numbers and nothing that runs; torch allows its own tensors by itself."""
    scalar: Any = np.float64(0).__reduce__()[0]
    array: Any = np.zeros(0).__reduce__()[0]
    dtypes = {
        type(np.dtype(name)) for name in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "?")
    }
    # numpy was renamed inside, and checkpoints of both times are about
    both = [
        (each, f"{room}.multiarray.{each.__name__}")
        for each in (scalar, array)
        for room in ("numpy.core", "numpy._core")
    ]
    return [*both, np.dtype, np.ndarray, *dtypes, torch.device]


def read(
    file: Path, target: Path, places: list[list[str]], wanted: dict[str, list[str]]
) -> dict[str, Any]:
    """Write the tensors at the first place that has any, and return the values that are wanted."""
    torch.serialization.add_safe_globals(allowed())
    if harm := harm_to(file):
        return {"damaged": harm}
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        return {"refused": found.group(1) if found else "a part that is no tensor and no number"}
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        return {"damaged": (str(error) or "it is no file of torch.save").splitlines()[0]}
    found_at = (at(checkpoint, place) for place in places)
    tensors = next((each for each in found_at if holds_weights(each)), None)
    if tensors is None:
        told = " or ".join(".".join(place) or "its top" for place in places)
        return {"damaged": f"it holds no weights at {told}"}
    first: dict[Any, str] = {}
    names = {}
    for name, tensor in tensors.items():
        key = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tuple(tensor.shape))
        names[name] = first.setdefault(key, name) if tensor.numel() else name
    save_file({n: tensors[n].contiguous().clone() for n in set(names.values())}, target)
    values = {name: plain(at(checkpoint, path)) for name, path in wanted.items()}
    return {"names": names, "values": values}


def holds_weights(value: Any) -> bool:
    """Whether it is tensors by their names, and nothing else."""
    is_named = isinstance(value, dict) and bool(value)
    return is_named and all(isinstance(each, torch.Tensor) for each in value.values())


def harm_to(file: Path) -> str:
    """What happened to an archive on its way; torch compares no checksums."""
    if not file.stat().st_size:
        return "it is empty"
    with file.open("rb") as content:
        is_archive = content.read(2) == b"PK"
    if not is_archive:  # as torch before 1.6 wrote it
        return ""
    try:
        with zipfile.ZipFile(file) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError, EOFError):
        return "it is cut off or damaged; copy it again"
    return f"its part {bad} is damaged; copy it again" if bad else ""


def at(value: Any, path: list[str]) -> Any:
    """What lies there; None where there is nothing."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def plain(value: Any) -> Any:
    """Numbers, words and lists of them; None of anything else."""
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value if isinstance(value, PLAIN) else None


if __name__ == "__main__":
    print(json.dumps(read(Path(sys.argv[1]), Path(sys.argv[2]), *json.loads(sys.argv[3]))))  # noqa: T201
