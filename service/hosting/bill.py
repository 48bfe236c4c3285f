"""``python -m service.hosting.bill``: what an image consists of (CycloneDX 1.5), made inside of it.

Python's packages as they are installed, Debian's as its base has them, and the files of the model
with their SHA-256. ``deploy/sign.py`` signs what comes out.
"""

import argparse
import json
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

from seg.files import sha256_of
from seg.verbs import called
from seg.version import VERSION

Component = dict[str, Any]
DPKG = Path("/var/lib/dpkg/status")


def bill(package: Path | None, dpkg: Path = DPKG) -> dict[str, Any]:
    """Of this environment, and of a model package, if any."""
    found = {component["bom-ref"]: component for component in _all(package, dpkg)}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": "segmenter", "version": VERSION}},
        "components": [found[name] for name in sorted(found)],
    }


def _all(package: Path | None, dpkg: Path) -> list[Component]:
    components = [_python(each) for each in distributions()]
    if dpkg.is_file():
        paragraphs = dpkg.read_text(encoding="utf-8", errors="replace").split("\n\n")
        components += [_debian(text) for text in paragraphs if "\nVersion: " in text]
    return components + (_model(package) if package else [])


def _python(distribution: Distribution) -> Component:
    name, version = distribution.metadata["Name"], distribution.version
    component = _library(name, version, f"pkg:pypi/{quote(name.lower())}@{quote(version)}")
    named = "License-Expression" in distribution.metadata
    licence = distribution.metadata["License-Expression"] if named else None
    return component | ({"licenses": [{"expression": licence}]} if licence else {})


def _debian(paragraph: str) -> Component:
    lines = (line.partition(": ") for line in paragraph.splitlines())
    fields = {name: value for name, colon, value in lines if colon}
    name, version = fields["Package"], fields["Version"]
    return _library(name, version, f"pkg:deb/debian/{quote(name)}@{quote(version)}")


def _library(name: str, version: str, url: str) -> Component:
    return {"type": "library", "name": name, "version": version, "purl": url, "bom-ref": url}


def _model(package: Path) -> list[Component]:
    from seg.model_package import read_card

    card = read_card(package)
    return [
        {
            "type": "machine-learning-model" if path.suffix == ".onnx" else "file",
            "name": f"{card.name}/{path.name}",
            "version": card.version,
            "bom-ref": f"model/{path.name}",
            "hashes": [{"alg": "SHA-256", "content": sha256_of(path)}],
        }
        for path in sorted(package.iterdir())
        if path.is_file()
    ]


def main() -> None:
    """The command."""
    argparse.ArgumentParser(
        prog=called("service.hosting.bill"),
        description="What the image that it is called in consists of, as CycloneDX 1.5.",
    ).parse_args()
    # readers of images take a second: only what is asked for waits for them
    from service.settings import PACKAGED

    document = bill(PACKAGED if PACKAGED.is_dir() else None)
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
