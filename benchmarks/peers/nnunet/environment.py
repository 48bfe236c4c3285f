"""An environment of its own for nnU-Net, with exact versions, since its needs are not ours.

Usage: python benchmarks/peers/nnunet/environment.py FOLDER [--reuse SITE_PACKAGES]
"""

import argparse
import subprocess
import sys
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def make_environment(folder: Path, reuse: Path | None) -> Path:
    """Install nnU-Net and return the environment's Python.

    Args:
        folder: of the environment; what is there already is kept.
        reuse: packages installed elsewhere that serve where their versions are the same, which
            saves the gigabytes of torch.
    """
    venv.create(folder, with_pip=True, symlinks=True)
    python = (folder / "bin" / "python").absolute()
    if reuse:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        link = folder / "lib" / version / "site-packages" / "reuse.pth"
        link.write_text(f"{reuse.resolve()}\n", encoding="utf-8")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS], check=True)
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--reuse", type=Path, metavar="SITE_PACKAGES")
    options = parser.parse_args()
    print(make_environment(options.folder, options.reuse))


if __name__ == "__main__":
    main()
