"""``python -m service.page.refresh_niivue VERSION``: NiiVue's browser bundle, taken from npm.

NiiVue draws the volumes of the page. It is kept in the repository, so that neither a build nor a
browser asks anybody else for it. Its npm package has no licence file; ``LICENSE`` beside the bundle
is that of its repository, and the licences of what is bundled with it are collected here.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from seg.files import sha256_of

FOLDER = Path(__file__).parent / "static" / "niivue"
PACKAGE = "@niivue/niivue"
BUNDLE = "dist/niivue.umd.js"
CONTENTS = "dist/metafile-esm.json"
"""Written by the bundler: every file that went in."""


def refresh(version: str) -> None:
    """Replace the bundle by that of a version."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                "npm",
                "install",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                f"{PACKAGE}@{version}",
            ],
            cwd=folder,
            check=True,
        )
        modules = Path(folder) / "node_modules"
        shutil.copy(modules / PACKAGE / BUNDLE, FOLDER / "niivue.js")
        licences = [_licence(modules / name) for name in _bundled(modules / PACKAGE / CONTENTS)]
    (FOLDER / "LICENSES-OF-PARTS").write_text("\n".join(licences))
    origin = {
        "name": PACKAGE,
        "version": version,
        "file": BUNDLE,
        "sha256": sha256_of(FOLDER / "niivue.js"),
    }
    (FOLDER / "origin.json").write_text(json.dumps(origin, indent=2) + "\n")


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
    parser = argparse.ArgumentParser(prog="python -m service.page.refresh_niivue")
    parser.add_argument("version", help="of @niivue/niivue")
    refresh(parser.parse_args().version)


if __name__ == "__main__":
    main()
