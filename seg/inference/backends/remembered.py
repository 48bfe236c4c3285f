"""What was found out about a package on this machine, kept in ``cache_folder()``."""

import json
import logging
import platform
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from seg.cuda_driver import cards, driver_version
from seg.files import replace_file
from seg.machine import cache_folder
from seg.model_package import ModelPackage
from seg.version import version_of

LOGGER = logging.getLogger(__name__)

LIBRARIES = (
    *("seg", "onnxruntime", "onnxruntime-gpu", "openvino"),
    *("nvidia-cudnn-cu13", "nvidia-cublas", "nvidia-cuda-runtime"),
)


def place_of(kind: str, package: ModelPackage, variant: str | None, *facts: object) -> Path:
    """Where it is kept: a file of its own for each package, machine and set of versions.

    Args:
        kind: of what was found out; the name of a folder.
        package: it is about.
        variant: None is what the package runs by itself.
        facts: others that it depends on.
    """
    card = package.card
    parts = [
        *(card.variant(name).sha256 for name in card.members(variant)),
        card.golden_sha256,
        *facts,
        platform.machine(),
        processor_name(),
        *cards(),
        driver_version(),
        *(version_of(name) for name in LIBRARIES),
    ]
    key = sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]
    return cache_folder() / kind / f"{key}.json"


def recall(place: Path) -> Mapping[str, Any]:
    """What is kept there; nothing where it cannot be read, so that it is found out anew."""
    try:
        known = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def remember(place: Path, found: Mapping[str, Any]) -> None:
    """Keep it there."""
    try:
        replace_file(place, (json.dumps(found, indent=2) + "\n").encode())
    except OSError:  # a folder that cannot be written costs the time of asking again, no more
        LOGGER.info("what was measured cannot be kept in %s", place.parent)


def processor_name() -> str:
    """What the CPU calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
