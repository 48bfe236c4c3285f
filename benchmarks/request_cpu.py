"""CPU of a request around its network: decoding, preparation, labels, quality, encoding.

The service's own way from the bytes of a PNG to those of the mask and its quality, in one thread of
this process, with a network that answers at once; what sockets and the event loop take is not in
it. With --beside the same is asked of another tree of this project (an older commit), turn by turn,
so that whatever else the machine does hits both: the ratio is the figure.

Usage: python benchmarks/request_cpu.py [--beside DIR] [--rounds 7] [--requests 60] [--profile]
    [--json FILE]
"""

import argparse
import cProfile
import functools
import importlib
import io
import json
import os
import pstats
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, os.environ.get("TREE", str(HERE)))

import imagecodecs  # noqa: E402
import numpy as np  # noqa: E402
from scipy import ndimage  # noqa: E402

from benchmarks.result import report  # noqa: E402
from benchmarks.small_package import write_package  # noqa: E402

PATCH = (256, 256)
SHAPES = {"one window": (256, 256), "a smaller image": (200, 240), "four windows": (384, 384)}
"""Of the images that are sent."""
CLASSES = 3
MANY = 104
"""Classes of a whole body; half of them have a side."""
OF_CARD = "a card of 104 classes"
WARM_UP = 5
PARTS = {
    "all": "service.answers.answer:answer",
    "decode": "service.decoding.image_decoder:ImageDecoder.image",
    "libpng of it": "seg.images.pictures.raster:_png_samples",
    "prepare": "seg.inference.slab_logits:prepare_rows",
    "labels": "seg.inference.slab_labels:decided",
    "quality": "seg.inference.trust.quality:QualityMeter.__call__",
    "quality at the end": "seg.inference.trust.quality:QualityMeter.quality",
    "familiarity": "seg.inference.predictor:Predictor.warnings",
    "encode": "service.answers.answer:_encoded",
    "header": "service.answers.answer:as_header",
}
"""Where they are computed."""


class Instant:
    """A network whose answer lies ready."""

    provider, callers, batch_size, patch = "instant", 1, 1, PATCH

    def __init__(self) -> None:
        noise = np.random.default_rng(0).normal(size=(1, CLASSES, *PATCH))
        smooth = ndimage.gaussian_filter(noise, (0, 0, 6, 6))
        self._logits = (4 * smooth / smooth.std()).astype(np.float32)

    def run(self, patches: np.ndarray) -> np.ndarray:
        """The same logits, whatever is asked."""
        return self._logits


class Requests:
    """A model that is ready, and requests for it."""

    def __init__(self, folder: Path) -> None:
        from seg.images import ClassInfo
        from seg.metrics import DiceCalibration, SelfAssessment
        from seg.model_package import write_card
        from service.decoding.image_decoder import ImageDecoder
        from service.models.ready_model import load_model
        from service.observability.metrics import Metrics
        from service.settings import Settings

        package = write_package(folder / "package", PATCH, 1, CLASSES)
        dice = {f"class {i}": DiceCalibration() for i in range(1, CLASSES)}
        quality = SelfAssessment(temperature=1.3, dice=dice)
        write_card(package.path, package.card.model_copy(update={"quality": quality}))
        said = {"SEG_PACKAGE": str(package.path), "SEG_PROVIDER": "cpu", "SEG_BATCH_SIZE": "1"}
        settings = Settings.from_environment(said)
        self.model = load_model(package.path, settings, Metrics())
        self.decoder = ImageDecoder(settings)
        self.rung = replace(self.model.chooser.rungs[0], backend=Instant())
        infos = [ClassInfo(index=0, name="background", color=(0, 0, 0))]
        for number in range(1, MANY + 1):
            name = f"structure {(number + 1) // 2} {'left' if number % 2 else 'right'}"
            infos.append(ClassInfo(index=number, name=name, color=(number, 0, 0)))
        card = package.card.model_copy(update={"classes": tuple(infos)})
        self.whole_body = replace(self.model.package, card=card)
        self.pictures = {name: self._picture(shape) for name, shape in SHAPES.items()}

    @staticmethod
    def _picture(shape: tuple[int, ...]) -> bytes:
        noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=shape), 3)
        return bytes(imagecodecs.png_encode((40 * noise / noise.std() + 128).astype(np.uint8)))

    def answered(self, picture: bytes, wanted: str = "png") -> tuple[bytes, str | None]:
        """The body of the answer and its header of quality."""
        from starlette.datastructures import QueryParams

        from service.answers.answer import Work, answer
        from service.requests.options import options_of
        from service.requests.order import order_of

        order = order_of(options_of(QueryParams(format=wanted)), None, self.model.package.card)
        work = Work(self.model, self.decoder, order, self.model.backend(), self.rung)
        target = io.BytesIO()

        @contextmanager
        def content():
            yield io.BytesIO(picture)

        head = answer(work, [[content]], target)
        return target.getvalue(), head.quality

    def milliseconds(self, picture: bytes, requests: int) -> float:
        """CPU of one, user and system."""
        for _ in range(WARM_UP):
            self.answered(picture)
        begun = time.process_time()
        for _ in range(requests):
            self.answered(picture)
        return 1000 * (time.process_time() - begun) / requests

    def milliseconds_of_card(self, requests: int) -> float:
        """CPU of what every request asks a card: whose mask it is, and which classes have sides."""
        begun = time.process_time()
        for _ in range(requests):
            assert self.whole_body.made_by.sha256
            assert self.whole_body.card.sided
        return 1000 * (time.process_time() - begun) / requests


def parts_of(made: Requests, requests: int) -> dict[str, float]:
    """CPU milliseconds of the parts of a request for one window."""
    picture, spent, wrapped = made.pictures["one window"], dict.fromkeys(PARTS, 0), []
    for label, place in PARTS.items():
        module, _, path = place.partition(":")
        *owners, name = path.split(".")
        owner = functools.reduce(getattr, owners, importlib.import_module(module))
        inner = getattr(owner, name)

        def timed(*given: Any, _inner: Any = inner, _label: str = label, **named: Any) -> Any:
            begun = time.thread_time_ns()
            try:
                return _inner(*given, **named)
            finally:
                spent[_label] += time.thread_time_ns() - begun

        setattr(owner, name, timed)
        wrapped.append((owner, name, inner))
    made.milliseconds(picture, 1)
    spent.update(dict.fromkeys(PARTS, 0))
    for _ in range(requests):
        made.answered(picture)
    for owner, name, inner in wrapped:
        setattr(owner, name, inner)
    return {label: value / 1e6 / requests for label, value in spent.items()}


def child(requests: int) -> None:
    """Answer each line of the input with a line: CPU, and what was answered."""
    with tempfile.TemporaryDirectory() as folder:
        made = Requests(Path(folder))
        for name in map(str.strip, sys.stdin):
            if name == "parts":
                print(json.dumps(parts_of(made, 5 * requests)), flush=True)
                continue
            if name == OF_CARD:
                made.milliseconds_of_card(1)
                ms = made.milliseconds_of_card(max(2, requests // 10))
                print(json.dumps({"ms": ms}), flush=True)
                continue
            picture = made.pictures[name]
            body, quality = made.answered(picture)
            row = {"ms": made.milliseconds(picture, requests), "mask": body.hex(),
                   "quality": quality}  # fmt: skip
            print(json.dumps(row), flush=True)


def started(tree: Path, requests: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(HERE / "benchmarks" / "request_cpu.py"), "--child",
         "--requests", str(requests)],
        env={**os.environ, "TREE": str(tree), "PYTHONPATH": str(tree)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def asked(process: subprocess.Popen[str], name: str) -> dict[str, Any]:
    assert process.stdin
    assert process.stdout
    print(name, file=process.stdin, flush=True)
    return json.loads(next(line for line in process.stdout if line.startswith("{")))


def profiled() -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = Requests(Path(folder))
        picture = made.pictures["one window"]
        made.milliseconds(picture, 5)
        profile = cProfile.Profile()
        profile.enable()
        for _ in range(200):
            made.answered(picture)
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beside", type=Path, help="another tree of this project")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.child:
        child(options.requests)
        return
    if options.profile:
        profiled()
        return
    trees = {"here": HERE} | ({"before": options.beside} if options.beside else {})
    processes = {name: started(tree, options.requests) for name, tree in trees.items()}
    rows: list[dict[str, Any]] = []
    try:
        for shape in (*SHAPES, OF_CARD):
            found: dict[str, list[float]] = {name: [] for name in trees}
            said: dict[str, Any] = {}
            for _ in range(options.rounds):
                for name, process in processes.items():
                    answer = asked(process, shape)
                    found[name].append(answer.pop("ms"))
                    said[name] = answer
            row: dict[str, Any] = {"image": shape, "shape": list(SHAPES.get(shape, ()))}
            row |= {f"{name}_ms": median(each) for name, each in found.items()}
            if options.beside:
                pairs = zip(found["here"], found["before"], strict=True)
                row["ratio"] = median(ours / theirs for ours, theirs in pairs)
                if shape in SHAPES:
                    row["same_answer"] = said["here"] == said["before"]
            rows.append(row)
            print("  ".join(f"{k} {v}" for k, v in row.items()), flush=True)
        rows.append({"parts_ms": asked(processes["here"], "parts")})
        print(rows[-1])
    finally:
        for process in processes.values():
            process.kill()
    report("request_cpu", rows, [], ("numpy", "imagecodecs", "onnxruntime-gpu"), options.json)


if __name__ == "__main__":
    main()
