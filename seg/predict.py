"""Segment files: ``python -m seg.predict PACKAGE IN... --out DIR``.

A mask carries its input's stem. Where the model has several channels, files that differ only in
a trailing ``_0000``, ``_0001``, ... are the channels of one image, and the mask carries the stem
without it.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from seg.errors import DatasetError, SegError
from seg.images import IMAGE_ENDINGS, MASK_FORMATS, images_at, read_channels, stem_of, write_mask
from seg.inference import Predictor, load_backend
from seg.model_package import ModelPackage

_CHANNEL = re.compile(r"_(\d{4})$")


@dataclass(frozen=True)
class Case:
    """The files of one image, one a channel or one for all."""

    stem: str
    files: tuple[Path, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when all went well, 1 when a file failed, 2 when none was tried."""
    options = _parser().parse_args(arguments)
    try:
        package = ModelPackage.load(options.package)
        wanted = package.card.input
        cases = find_cases(options.inputs, channels=len(wanted.channels), dims=wanted.dims)
        backend = load_backend(package, options.variant, options.provider)
        name = options.format or ("png" if package.card.input.dims == 2 else "nifti")
    except SegError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    failures = segment_all(Predictor(package, backend), cases, options.out, name)
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)  # noqa: T201
    return 1 if failures else 0


def segment_all(
    predictor: Predictor, cases: Sequence[Case], out: Path, format_name: str
) -> list[str]:
    """Write the mask of each case; a sentence for each one that failed."""
    card = predictor.package.card
    failures = []
    with tqdm(cases, unit="image", disable=None) as bar:
        for case in bar:
            try:
                image = read_channels(case.files, dims=card.input.dims)
                mask = predictor.predict(image)
                target = out / (case.stem + MASK_FORMATS[format_name].suffix)
                write_mask(target, mask, format_name, card.classes, image)
            except SegError as error:
                failures.append(f"{case.stem}: {error}")
            except OSError as error:
                failures.append(f"{case.stem}: {error.strerror or error}")
    return failures


def find_cases(inputs: Sequence[Path], channels: int, dims: int = 3) -> list[Case]:
    """Files and folders to cases, sorted by stem.

    Raises:
        DatasetError: a path does not exist, a folder holds no image, or two cases share a stem.
    """
    groups: dict[str, list[Path]] = {}
    for path in _files(inputs, dims):
        stem = stem_of(path)
        groups.setdefault(_CHANNEL.sub("", stem) if channels > 1 else stem, []).append(path)
    for stem, files in groups.items():
        if len(files) not in (1, channels):
            raise DatasetError(
                f"{stem} has {len(files)} files, but the model takes one file, or one for each of "
                f"its {channels} channels"
            )
    return [Case(stem, tuple(sorted(files))) for stem, files in sorted(groups.items())]


def _files(inputs: Sequence[Path], dims: int) -> list[Path]:
    files = []
    for path in inputs:
        if not path.exists():
            raise DatasetError(f"{path} does not exist")
        found = images_at(path, dims)
        if not found:
            raise DatasetError(f"no image in {path}; known endings are {', '.join(IMAGE_ENDINGS)}")
        files += found
    return files


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m seg.predict", description="Segment images with a model package."
    )
    parser.add_argument("package", type=Path, metavar="PACKAGE", help="folder with model.json")
    parser.add_argument(
        "inputs", type=Path, nargs="+", metavar="IN", help="image files, or folders of them"
    )
    parser.add_argument("--out", "-o", type=Path, required=True, help="folder for the masks")
    parser.add_argument(
        "--format",
        choices=sorted(MASK_FORMATS),
        help="format of the masks (default: png for 2D, nifti for 3D)",
    )
    add_backend_options(parser)
    return parser


def add_backend_options(parser: argparse.ArgumentParser) -> None:
    """Which variant runs, and where: the same for every command that takes a package."""
    parser.add_argument("--variant", help="variant of the package (default: its first)")
    parser.add_argument(
        "--provider",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where the network runs (default: a CUDA device where there is one)",
    )


if __name__ == "__main__":
    sys.exit(main())
