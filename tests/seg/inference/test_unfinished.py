"""A slide that was stopped goes on where it stood, to the very same files."""

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import binary_blobs

import seg.inference.unfinished
import seg.objects.blocks
import seg.objects.meter
import seg.predict.work
import seg.transforms.rows
from seg.errors import ConfigError, ImageTooLargeError
from seg.images import Image, write_image
from seg.images.outlines.roi import RegionOfInterest
from seg.inference import Predictor, Selection, WindowCounts
from seg.inference.backends.onnx import OnnxBackend
from seg.inference.object_files import ROWS, predict_objects_file
from seg.inference.tiling.sliding_window import Tiling, predict_slabs
from seg.inference.trust.quality import QualityMeter
from seg.inference.unfinished import Unfinished
from seg.model_package import (
    ModelPackage,
    ObjectLevel,
    Postprocessing,
    StandsOut,
    read_card,
    write_card,
)
from seg.predict.__main__ import main
from seg.transforms import CommonScale, Normalisation, Prepared, Preprocessing
from tests.packages import write_package


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package") / "cells"
    return write_package(folder, objects=True)


@pytest.fixture
def in_parts(monkeypatch):
    monkeypatch.setattr(seg.transforms.rows, "WHOLE_BYTES", 1)
    monkeypatch.setattr(seg.objects.meter, "AT_ONCE", 1)
    monkeypatch.setitem(seg.objects.meter.BLOCK, 2, 40)
    monkeypatch.setattr(seg.inference.unfinished, "SECONDS_BETWEEN_NOTES", 0)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    rng = np.random.default_rng(3)
    inside = binary_blobs(150, blob_size_fraction=0.08, volume_fraction=0.45, rng=3)
    values = np.where(inside, rng.choice([0.55, 0.75, 0.9, 0.97], (150, 150)), 0.05)
    path = tmp_path_factory.mktemp("slide") / "slide.tif"
    array = (255 * values).astype(np.uint8)[np.newaxis, :, :131]
    array[:, 50:105, :70] = 12
    write_image(path, Image(array, spacing=(0.5, 0.5)))
    return path


class Stopped(BaseException):
    """As a person, or the system, stops a process."""


class Asked:
    """Counts the patches that a network is asked about, and stops at one."""

    def __init__(self, predictor, stop_at=None):
        self.backend, self.stop_at, self.patches = predictor.backend, stop_at, 0

    def __getattr__(self, name):
        return getattr(self.backend, name)

    def run(self, patches):
        self.patches += len(patches)
        if self.stop_at is not None and self.patches > self.stop_at:
            raise Stopped
        return self.backend.run(patches)


def segmented(package, slide, out, *, stop_at=None, unfinished=None, selection=Selection()):  # noqa: B008
    predictor = Predictor(ModelPackage.load(package), selection=selection)
    predictor.backend = asked = Asked(predictor, stop_at)
    meter = QualityMeter(predictor.package.card)
    targets = {out / "slide.tif": "instances", out / "rows": ROWS}
    found = predict_objects_file(predictor, [slide], targets, observe=meter, unfinished=unfinished)
    return found, meter, asked.patches


def same(ours, theirs):
    assert sorted(path.name for path in ours.iterdir()) == ["rows", "slide.tif"]
    for path in ours.iterdir():
        assert_same(path, theirs / path.name)


def assert_same(ours, theirs):
    if ours.suffix == ".tif":  # each file has a number of its own
        np.testing.assert_array_equal(tifffile.imread(ours), tifffile.imread(theirs))
    else:
        assert ours.read_bytes() == theirs.read_bytes(), ours.name


RESCALED = Normalisation(kind="rescale", low=0, high=255)
SCALE = CommonScale(bottom=-50, middle=(-50, 400), top=400, median=100, spread=60)
REFERENCE = Normalisation(kind="reference", low=0, high=400, mean=0, std=255, scale=SCALE)
RULE = StandsOut(
    levels=(ObjectLevel(side="above", limit=0.93),), smoothing=(1, 1), core=(3, 3), reach=(4, 4)
)


@pytest.mark.parametrize("how", ["plain", "resampled", "standing out", "skipped", "in a region"])
def test_a_stopped_slide_goes_on_at_its_row_of_windows(tmp_path, slide, in_parts, how):
    spacing = (0.4, 0.4) if how == "resampled" else None
    normalisation = REFERENCE if how == "standing out" else RESCALED
    package = write_package(
        tmp_path / "package",
        objects=True,
        preprocessing=Preprocessing(normalisation=(normalisation,), spacing=spacing).model_dump(),
        stands_out=RULE.model_dump() if how == "standing out" else None,
        empty={"side": "below", "limits": (60.0,)} if how == "skipped" else None,
    )
    selection = Selection()
    if how == "in a region":
        ring = ((3.0, 3.0), (120.0, 20.0), (110.0, 149.0), (3.0, 149.0))
        selection = Selection(region=RegionOfInterest(((ring,),)))
    (tmp_path / "whole").mkdir()
    whole, meter, patches = segmented(package, slide, tmp_path / "whole", selection=selection)
    out, unfinished = tmp_path / "out", tmp_path / "unfinished"
    out.mkdir()
    for stop_at in (patches * 3 // 5, patches // 3):
        stop(package, slide, out, unfinished, stop_at=stop_at, selection=selection)
        assert not any(out.iterdir())
    with Unfinished(unfinished) as left:
        assert left.known["rows"] > 0
        found, again, last = segmented(package, slide, out, unfinished=left, selection=selection)
    assert last < 0.85 * patches
    same(out, tmp_path / "whole")
    assert not unfinished.exists()
    assert found.counts == whole.counts
    for ours, theirs in zip(again.state, meter.state, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert replace(found.windows, before=0) == whole.windows
    assert (whole.windows.unfounded > 0) == (how == "standing out")
    assert (whole.windows.skipped > 0) == (how == "skipped")


def stop(package, slide, out, folder, **how):
    with pytest.raises(Stopped), Unfinished(folder) as unfinished:
        segmented(package, slide, out, unfinished=unfinished, **how)


TWICE_IS_MORE = Postprocessing(largest_foreground=True, smallest_component={"cytoplasm": 40})
"""What is small joins parts of the foreground: without it another part is the largest, alone."""


@pytest.mark.parametrize("rules", [Postprocessing(), TWICE_IS_MORE], ids=["plain", "rules"])
def test_decoding_goes_on_at_its_block(tmp_path, package, slide, in_parts, monkeypatch, rules):
    package = Path(shutil.copytree(package, tmp_path / "package"))
    card = read_card(package)
    write_card(package, card.model_copy(update={"postprocessing": rules}))
    (tmp_path / "whole").mkdir()
    (tmp_path / "out").mkdir()
    segmented(package, slide, tmp_path / "whole")
    settled, seen = seg.objects.blocks._settled, []

    def stopping(evidence, rules, box, halo):
        seen.append(box)
        if len(seen) == 7:
            raise Stopped
        return settled(evidence, rules, box, halo)

    monkeypatch.setattr(seg.objects.blocks, "_settled", stopping)
    stop(package, slide, tmp_path / "out", tmp_path / "unfinished")
    with Unfinished(tmp_path / "unfinished") as unfinished:
        _, _, patches = segmented(package, slide, tmp_path / "out", unfinished=unfinished)
    assert patches == 0
    assert seen[7] == seen[6]
    same(tmp_path / "out", tmp_path / "whole")


class Edges:
    """A network that says something else of each place in its patch."""

    provider, patch, batch_size, callers = "numpy", (32, 32), 1, 2

    def run(self, patches):
        place = np.linspace(0, 1, 32, dtype=np.float32)
        return np.concatenate([patches * place, patches * place[:, None]], axis=1)


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 150),
    width=st.integers(1, 90),
    first=st.integers(0, 150),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.8]),
    margin=st.sampled_from([None, (5, 3)]),
)
def test_logits_from_a_row_on_are_those_of_the_whole(height, width, first, overlap, margin):
    first = min(first, height - 1)
    rng = np.random.default_rng(height)
    array = rng.random((1, height, width), np.float32)

    image = Prepared(array, array.shape[1:], ())
    tiling = {"overlap": overlap, "margin": margin}
    whole = list(predict_slabs(Edges(), image, Tiling(**tiling)))
    counts = WindowCounts()
    part = list(predict_slabs(Edges(), image, Tiling(**tiling, first=first), counts=counts))
    ours, theirs = (np.concatenate([s.logits for s in slabs], 1) for slabs in (part, whole))
    np.testing.assert_array_equal(ours[:, first:], theirs[:, first:])
    if first >= 64 and counts.total > 1:
        assert counts.before > 0


def test_another_image_and_another_process_do_not_go_on_with_it(tmp_path):
    def left_by(key, end, value):
        with contextlib.suppress(end), Unfinished(tmp_path / "a", key) as unfinished:
            seen = (dict(unfinished.known), unfinished.array("x", np.uint8, (4,)).tolist())
            unfinished.array("x", np.uint8, (4,))[:] = value
            unfinished.note({"rows": value})
            with pytest.raises(ConfigError, match="another process"):
                Unfinished(tmp_path / "a", key)
            raise end
        return seen

    assert left_by("one", Stopped, 7) == ({}, [0] * 4)
    assert left_by("one", Stopped, 8) == ({"rows": 7}, [7] * 4)
    assert left_by("two", ZeroDivisionError, 9) == ({}, [0] * 4)
    assert not (tmp_path / "a").exists()


SLOWLY = """
import sys, time
from pathlib import Path
import numpy as np
import seg.inference.unfinished, seg.predict.work, seg.transforms.rows
from seg.errors import ImageTooLargeError
from seg.inference.backends.onnx import OnnxBackend
from seg.predict.__main__ import main

def too_large(*_, **__):
    raise ImageTooLargeError("too large")

seg.predict.work.read_channels = too_large
seg.transforms.rows.WHOLE_BYTES = 1
seg.inference.unfinished.SECONDS_BETWEEN_NOTES = 0
run = OnnxBackend.run
state = Path(sys.argv.pop())


def slowly(self, patches):
    time.sleep(0.1)
    while state.exists() and np.load(state).get("rows", 0) >= 64:
        time.sleep(1)  # until it is killed, however late that is
    return run(self, patches)


OnnxBackend.run = slowly
sys.exit(main(sys.argv[1:]))
"""


def rows_of(state):
    try:
        return int(np.load(state)["rows"])
    except (OSError, KeyError):
        return 0


def test_the_same_command_goes_on_after_kill_9(tmp_path, package, slide, in_parts, monkeypatch):
    def command(out):
        options = ["--format", "instances,objects-csv", "--provider", "cpu", "--threads", "1"]
        return [str(package), str(slide), "--out", str(out), *options]

    def too_large(*_, **__):
        raise ImageTooLargeError("too large")

    asked, run = [], OnnxBackend.run
    monkeypatch.setattr(seg.predict.work, "read_channels", too_large)
    monkeypatch.setattr(
        OnnxBackend, "run", lambda self, patches: asked.append(1) or run(self, patches)
    )
    assert main(command(tmp_path / "whole")) == 0
    before, out = len(asked), tmp_path / "out"
    state = out / ".slide.unfinished" / "state.npz"
    process = subprocess.Popen([sys.executable, "-c", SLOWLY, *command(out), str(state)])
    limit = time.monotonic() + 120
    while rows_of(state) < 64 and time.monotonic() < limit:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 64 <= rows_of(state) < 150
    assert main(command(out)) == 0
    assert len(asked) - before < before
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert sorted(path.name for path in out.iterdir()) == names
    for name in names:
        assert_same(out / name, tmp_path / "whole" / name)
