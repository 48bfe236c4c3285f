"""The whole way once: train, serve, segment an image over HTTP."""

import logging
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from seg.errors import ConfigError, SegError
from seg.images import Mask, read_mask, write_image
from seg.metrics import dice
from seg.model_package import ModelPackage, add_example
from seg.verbs import called, served
from training.dataset import load_dataset
from training.evaluation.score_files import read_metrics
from training.evaluation.scores import Evaluation
from training.pipeline.fitting import fit, resume
from training.planning.options import PlanOptions
from training.run.folder import RunFolder
from training.run.lock import holds_files
from training.run.plan_yaml import read_plan

SECONDS_TO_READY = 120
COMMAND = "make demo"
"""Which command a package says that it was made by."""

log = logging.getLogger("training")


def demonstrate(out: Path, data: Path | None, chosen: dict[str, float]) -> None:
    """Train into a folder, serve the package and segment one of the held-back images.

    Args:
        out: folder of the run.
        data: of a dataset; fetched if none is named.
        chosen: what of the plan is asked for, ``minutes`` or ``steps``.

    Raises:
        SegError: a step of it cannot be taken.
    """
    log.info("1. From images to a model (Ctrl-C stops it, and the same command goes on)\n")
    run = _trained(out, data, chosen)
    log.info("\n2. From the model to a mask: it is served, and asked over HTTP for a test image\n")
    answered = _segment_over_http(run)
    log.info("\n3. What came out\n")
    log.info("  %-34s the model: all that a service or seg.predict needs", run.package)
    log.info("  %-34s its scores with pictures, for a browser", run.report)
    for path, what in answered.items():
        log.info("  %-34s %s", path, what)
    log.info("\n4. What to try next\n")
    for line in _what_next(run.package):
        log.info("  %s", line)


def _trained(out: Path, data: Path | None, chosen: dict[str, float]) -> RunFolder:
    run = RunFolder(out)
    if run.plan.is_file() and run.fingerprint.is_file() and not run.report.is_file():
        begun = read_plan(run.plan).data
        if data is not None and data.resolve() != Path(begun).resolve():
            raise ConfigError(
                f"the demo that was stopped in {out} is of {begun}, not of {data}; name another "
                "folder with --out, or leave --data away to go on with it"
            )
        log.info("going on with the demo that was stopped, of %s", begun)
        return resume(out, COMMAND)
    _make_room(run)
    return fit(PlanOptions(data=data, out=out, chosen=chosen), COMMAND)


def _make_room(run: RunFolder) -> None:
    """Remove a demo that is finished, and nothing else.

    Raises:
        ConfigError: something else lies there.
    """
    if not run.path.is_dir() or not holds_files(run.path):
        return
    is_finished = run.report.is_file() and run.package.is_dir()
    if not is_finished or ModelPackage.load(run.package).card.provenance.command != COMMAND:
        raise ConfigError(
            f"{run.path} holds what no demo left there; move it away, or name another folder with "
            "--out"
        )
    shutil.rmtree(run.path)


def _segment_over_http(run: RunFolder) -> dict[Path, str]:
    """Files of the image that was sent and of what came back, each with what it is."""
    dataset = load_dataset(read_plan(run.plan).data)
    case = dataset.test[-1]
    image, reference = dataset.read(case)
    suffix = ".tif" if dataset.dims == 2 else ".nii.gz"
    sent = run.path / f"scan{suffix}"
    write_image(sent, image)
    licence = ModelPackage.load(run.package).card.licence
    add_example(run.package, [sent], f"A test image of {dataset.name}. Licence: {licence}.")
    with _service(run.package) as url:
        started = time.perf_counter()
        answer = _post(url, sent, "tiff" if dataset.dims == 2 else "nifti")
        milliseconds = 1000 * (time.perf_counter() - started)
        overlay = run.path / "overlay.png"
        overlay.write_bytes(_post(url, sent, "overlay"))
    saved = run.path / f"mask{suffix}"
    saved.write_bytes(answer)
    mask = read_mask(saved, dims=dataset.dims)
    size = " x ".join(map(str, image.spatial_shape))
    log.info("answered  an image of %s after %.0f ms\n", size, milliseconds)
    _print_scores(mask, reference, ModelPackage.load(run.package), read_metrics(run.metrics))
    return {sent: "the test image", saved: "its mask", overlay: "both in one picture"}


def _what_next(package: Path) -> list[str]:
    """What to try now, in commands that this shell takes."""
    lines = [
        *_activation(),
        served(package),
        "    then open http://localhost:3000 and press Try an example, or drop an image there",
        called("training.check", "FOLDER"),
        called("training.fit", "FOLDER", "--minutes", "30"),
        "    with FOLDER/images and, of the same names, FOLDER/masks: a model of your own images,",
        "    step by step in docs/tutorials/own-images.md",
    ]
    return [
        *lines,
        called("service.studio", "cells"),
        "    images without masks: outline some objects in the browser, and train there",
    ]


def _activation() -> list[str]:
    """How this shell finds the commands, where it does not: ``make`` calls them by their path."""
    here = Path(sys.executable).parent
    if Path(shutil.which("seg") or "").parent == here:
        return []
    folder = here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here
    line = folder / "Activate.ps1" if os.name == "nt" else f". {shlex.quote(f'{folder}/activate')}"
    return [f"{line}    # once in this shell, so that it finds what follows"]


def _print_scores(
    mask: Mask, reference: Mask, package: ModelPackage, evaluation: Evaluation
) -> None:
    log.info("%-12s %12s %18s %14s", "Dice", "this image", "held-back images", "thresholding")
    for info in package.card.classes[1:]:
        summary = evaluation.summary[info.name]
        here = dice(mask.array == info.index, reference.array == info.index)
        log.info(
            "%-12s %12.3f %18.3f %14.3f",
            info.name,
            here,
            np.nan if summary.dice is None else summary.dice,
            np.nan if summary.floor is None else summary.floor,
        )


def _post(url: str, image: Path, format_name: str) -> bytes:
    with image.open("rb") as file:
        answer = httpx.post(
            f"{url}/segment", params={"format": format_name}, files={"image": file}, timeout=120
        )
    if answer.is_error:
        raise SegError(f"the service answered {answer.status_code}: {answer.text}")
    return answer.content


@contextmanager
def _service(package: Path) -> Iterator[str]:
    """A running service on a free port; stopped at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "seg.verbs", "serve"),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            env=os.environ | {"SEG_PACKAGE": str(package.resolve())},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            log.info("serving   %s", url)
            _wait_until_ready(url, process)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + SECONDS_TO_READY
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SegError(f"the service ended with code {process.returncode} before it was ready")
        try:
            if httpx.get(f"{url}/readyz", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SegError(f"the service was not ready within {SECONDS_TO_READY} s")
