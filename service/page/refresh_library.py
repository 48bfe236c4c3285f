"""``python -m service.page.refresh_library NAME VERSION``: a library of the page, taken from npm.

NiiVue draws the volumes, fflate reads and writes ZIP files. They are kept in the repository, so
that neither a build nor a browser asks anybody else for them. NiiVue's npm package has no licence
file; ``LICENSE`` beside the bundle is that of its repository, and the licences of what is bundled
with it are collected here.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from seg.files import sha256_of
from seg.verbs import called

STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True)
class Library:
    """An npm package, and what of it the page is given."""

    package: str
    bundle: str
    contents: str | None = None
    """Written by the bundler: every file that went in; None where it bundles nobody else."""


LIBRARIES = {
    "niivue": Library("@niivue/niivue", "dist/niivue.umd.js", "dist/metafile-esm.json"),
    "fflate": Library("fflate", "umd/index.js"),
}


def refresh(name: str, version: str) -> None:
    """Replace a bundle by that of a version."""
    library, target = LIBRARIES[name], STATIC / name
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                "npm",
                "install",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                f"{library.package}@{version}",
            ],
            cwd=folder,
            check=True,
        )
        modules = Path(folder) / "node_modules"
        own = modules / library.package
        shutil.copy(own / library.bundle, target / f"{name}.js")
        if library.contents is None:
            shutil.copy(own / "LICENSE", target / "LICENSE")
        else:
            licences = [_licence(modules / part) for part in _bundled(own / library.contents)]
            (target / "LICENSES-OF-PARTS").write_text("\n".join(licences))
    origin = {
        "name": library.package,
        "version": version,
        "file": library.bundle,
        "sha256": sha256_of(target / f"{name}.js"),
    }
    (target / "origin.json").write_text(json.dumps(origin, indent=2) + "\n")


def _bundled(contents: Path) -> list[str]:
    """Names of the npm packages in a bundle."""
    names = set()
    for file in json.loads(contents.read_text())["inputs"]:
        _, found, inside = file.rpartition("node_modules/")
        parts = inside.split("/")
        if found:
            names.add("/".join(parts[: 2 if inside.startswith("@") else 1]))
    return sorted(names)


def _licence(package: Path) -> str:
    card = json.loads((package / "package.json").read_text())
    (file,) = (file for file in package.iterdir() if file.name.lower().startswith("license"))
    title = f"{card['name']} {card['version']} ({card['license']})"
    return f"{title}\n{'=' * len(title)}\n\n{file.read_text().strip()}\n"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog=called("service.page.refresh_library"))
    parser.add_argument("name", choices=LIBRARIES)
    parser.add_argument("version", metavar="VERSION", help="on npm")
    options = parser.parse_args()
    refresh(options.name, options.version)


if __name__ == "__main__":
    main()
