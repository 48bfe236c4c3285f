"""Weights of a foreign file, without running anything that it says."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from seg.errors import ConfigError

READER = Path(__file__).with_name("unpickle.py")
SECONDS = 600
"""A checkpoint of gigabytes is read in less."""


@dataclass(frozen=True, eq=False)
class ForeignCheckpoint:
    """What was found in a file."""

    file: Path
    weights: dict[str, Tensor]
    values: Mapping[str, Any]
    """Numbers, words and lists of them."""


def read_checkpoint(
    file: Path,
    weights: Sequence[str] = (),
    values: Mapping[str, Sequence[str]] | None = None,
    hint: str = "",
    or_at: Sequence[Sequence[str]] = (),
) -> ForeignCheckpoint:
    """Read a pickled checkpoint with an allow-list, in a process of its own.

    Args:
        file: as ``torch.save`` wrote it, or safetensors.
        weights: keys that lead to the weights; none where they are all that there is.
        values: name to the keys that lead to a plain value.
        hint: what to do where the file holds more than tensors and numbers.
        or_at: other such keys, tried in turn where there are no weights at the first.

    Raises:
        ConfigError: the file is missing, damaged, or holds something that would have to be run.
    """
    if not file.is_file():
        raise ConfigError(f"{file} is missing")
    if file.suffix == ".safetensors":
        return ForeignCheckpoint(file, _safetensors(file), {})
    with tempfile.TemporaryDirectory(prefix="seg-adopt-") as folder:
        target = Path(folder) / "weights.safetensors"
        answer = _ask(file, target, [weights, *or_at], values or {})
        if "refused" in answer:
            raise ConfigError(
                f"{file} holds {answer['refused']}, which is no tensor and no number, and reading "
                f"it could run any program; nothing was run. {hint}".rstrip()
            )
        if "damaged" in answer:
            raise ConfigError(f"{file} cannot be read: {answer['damaged']}")
        stored = _safetensors(target)
        return ForeignCheckpoint(
            file, {name: stored[first] for name, first in answer["names"].items()}, answer["values"]
        )


def _ask(
    file: Path,
    target: Path,
    places: Sequence[Sequence[str]],
    values: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    # -I: neither the current folder nor the environment says what is imported
    wanted = json.dumps([places, values])
    command = [sys.executable, "-I", str(READER), str(file), str(target), wanted]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, IndexError, ValueError) as error:
        raise ConfigError(
            f"{file} cannot be read: the process that tried ended without an answer; the file is "
            "damaged, or memory ran out"
        ) from error
    return answer


def _safetensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
