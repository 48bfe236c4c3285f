"""What a process of its own costs the decoding of a PNG: the same file here and there, in turns.

The file is noise, which PNG cannot pack, as a body that came over HTTP: in memory up to a
megabyte, in an unnamed file beyond. Told are the time by the clock, from the body to the pixels,
and the CPU that both processes took: the figure where others use the machine too. That pixels are
read once by whoever asked is part of it, since those of a decoder lie in memory that is not mapped.

Usage: python benchmarks/decoder.py [--rounds 300] [--json FILE]
"""

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import imagecodecs
import numpy as np

from benchmarks.result import bar, report
from seg.images import Image, Limits, read_channels
from service.decoding import image_decoder
from service.decoding.decoders import DECODERS
from service.decoding.image_decoder import ImageDecoder
from service.requests.uploads import IN_MEMORY
from service.settings import Settings

MEGABYTES = (0.03, 0.3, 1.0, 4.0)
SMALL_MS = 0.3
"""What a process may cost a small picture."""
LIMITS = Limits()
WARM_UP = 5


def body_of(megabytes: float) -> IO[bytes]:
    """Noise of so many pixels, as an upload lies here."""
    side = round((1e6 * megabytes) ** 0.5)
    pixels = np.random.default_rng(0).integers(0, 256, (side, side)).astype(np.uint8)
    file: Any = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  as long as the program
    file.write(imagecodecs.png_encode(pixels, level=1))
    file.seek(0)
    return file  # type: ignore[no-any-return]


def here(body: IO[bytes]) -> Image:
    """The image, decoded in this process."""
    body.seek(0)
    return read_channels([body.read()], dims=2, limits=LIMITS)


def cpu() -> float:
    """Seconds of CPU of this process and of decoders that wait."""
    paths = [Path(f"/proc/{each._process}/schedstat") for each in DECODERS._idle]
    return process_time() + sum(int(path.read_text().split()[0]) for path in paths) / 1e9


def took(image: Any) -> tuple[float, float]:
    """Milliseconds of one, read once: by the clock, and of CPU."""
    begun, busy = perf_counter(), cpu()
    image().array.max()
    return 1000 * (perf_counter() - begun), 1000 * (cpu() - busy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    decoder = ImageDecoder(Settings())
    rows = []
    for megabytes in MEGABYTES:
        body = body_of(megabytes)
        ways = {
            "here": lambda body=body: here(body),
            "as the service": lambda body=body: _decoded(decoder, body),
            "in a decoder": lambda body=body: _decoded(decoder, body, forced=True),
        }
        seen: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for turn in range(WARM_UP + arguments.rounds):
            for way, image in ways.items():
                ms = took(image)
                if turn >= WARM_UP:
                    seen[way].append(ms)
        row = {"megabytes": megabytes, "rounds": arguments.rounds}
        for way, each in seen.items():
            row[f"{way}, ms"], row[f"{way}, CPU ms"] = (
                round(median(column), 3) for column in zip(*each, strict=True)
            )
        rows.append(row)
        print("  ".join(f"{name} {value:g}" for name, value in row.items()), flush=True)
    small = rows[0]["as the service, ms"] - rows[0]["here, ms"]
    bars = [bar("a small PNG costs more by, ms", small, SMALL_MS, at_most=True)]
    report("decoder", rows, bars, ("imagecodecs", "numpy"), arguments.json)


def _decoded(decoder: ImageDecoder, body: IO[bytes], *, forced: bool = False) -> Image:
    small = image_decoder.SMALL_PNG
    image_decoder.SMALL_PNG = 0 if forced else small
    try:
        return decoder.image([body], dims=2, limits=LIMITS, check=lambda: None)
    finally:
        image_decoder.SMALL_PNG = small


if __name__ == "__main__":
    main()
