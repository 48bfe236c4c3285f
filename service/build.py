"""``python -m service.build PACKAGE --image NAME``: a bento with a model package, and its image.

A bento takes files of one folder only, while a package lies where the user put it. So the code, the
package and ``bentofile.yaml`` are laid side by side in a temporary folder, and built there. What
``--gpu`` adds are onnxruntime's CUDA provider and NVIDIA's libraries, some gigabytes.
"""

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from seg.commands import exit_status, path_named
from seg.errors import ConfigError
from seg.verbs import called

if TYPE_CHECKING:  # it and readers of images take seconds: only what is asked for waits for them
    import bentoml

ROOT = Path(__file__).parents[1]
BENTOFILE = "bentofile.yaml"
CODE = ("seg", "service")
BUILDERS = {
    "docker": (),
    "podman": ("--format", "docker"),  # in its own format there is no health check
    "buildah": ("--format", "docker"),
}
LICENCE = "LICENSE"
ENVIRONMENT = "envs:\n"
OF_A_GPU = (
    f"{ENVIRONMENT}  - name: NVIDIA_DRIVER_CAPABILITIES  # which of the host's libraries come in\n"
    "    value: compute,utility\n"
)
ON_CPU, ON_GPU = '"onnxruntime>=', '"onnxruntime-gpu[cuda,cudnn]>='


def build(package: Path, *, gpu: bool = False) -> "bentoml.Bento":
    """Build a bento of a model package into BentoML's store.

    Args:
        package: folder of the package.
        gpu: its image runs networks on an NVIDIA GPU.

    Raises:
        PackageError: the package is incomplete or altered.
        ConfigError: this is not the repository, or BentoML cannot build.
    """
    import bentoml
    from bentoml.exceptions import BentoMLException

    from seg.model_package import ModelPackage

    card = ModelPackage.load(package).card
    if not (ROOT / BENTOFILE).is_file():
        raise ConfigError(f"{ROOT} has no {BENTOFILE}; build in a copy of the repository")
    with tempfile.TemporaryDirectory(prefix="bento-") as folder:
        stage(package, Path(folder), gpu=gpu)
        try:
            return bentoml.bentos.build_bentofile(
                BENTOFILE,
                build_ctx=folder,
                labels={"model": card.name, "model_version": card.version},
            )
        except BentoMLException as error:
            raise ConfigError(f"BentoML cannot build this bento: {error}") from error


def stage(package: Path, folder: Path, *, gpu: bool = False) -> None:
    """Lay all that a bento holds into ``folder``."""
    from service.hosting.container_image import CONSTRAINTS
    from service.settings import PACKAGED

    without_caches = shutil.ignore_patterns("__pycache__")
    for room in CODE:
        shutil.copytree(ROOT / room, folder / room, ignore=without_caches)
    shutil.copytree(package, folder / PACKAGED.name)
    for name in (CONSTRAINTS, LICENCE):
        shutil.copy(ROOT / name, folder)
    described = (ROOT / BENTOFILE).read_text(encoding="utf-8")
    if gpu:
        described = described.replace(ON_CPU, ON_GPU).replace(ENVIRONMENT, OF_A_GPU)
    (folder / BENTOFILE).write_text(described, encoding="utf-8")


def build_image(bento: "bentoml.Bento", name: str) -> None:
    """Build a bento's image with what is there: Docker, Podman or Buildah.

    Raises:
        ConfigError: there is none of them, or it failed.
    """
    builder = next((each for each in BUILDERS if shutil.which(each)), None)
    if builder is None:
        raise ConfigError(f"an image is built by one of {', '.join(BUILDERS)}; none is here")
    dockerfile = str(Path(bento.path) / "env" / "docker" / "Dockerfile")
    command = [
        builder,
        "build",
        *BUILDERS[builder],
        "--file",
        dockerfile,
        "--tag",
        name,
        bento.path,
    ]
    sys.stderr.write(f"{shlex.join(command)}\n")
    if subprocess.run(command, check=False).returncode:
        raise ConfigError(f"{builder} could not build {name}, as it says above")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when a bento is built, 2 when a user must repair something."""
    parser = argparse.ArgumentParser(
        prog=called("service.build"),
        description=(
            "A bento that carries a model package, and an image of it. Code, package and "
            "bentofile.yaml are laid side by side in a temporary folder and built there."
        ),
    )
    parser.add_argument("package", type=path_named, metavar="PACKAGE", help="folder")
    parser.add_argument(
        "--gpu", action="store_true", help="for an NVIDIA GPU: with CUDA and cuDNN, some gigabytes"
    )
    parser.add_argument(
        "--image", metavar="NAME", help="build an image as well, such as segmenter:1"
    )
    return exit_status(partial(_run, parser.parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    bento = build(options.package, gpu=options.gpu)
    if options.image:
        build_image(bento, options.image)
    sys.stdout.write(f"{bento.tag}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
