"""Ten pictures to a count, in the browser: ``python benchmarks/studio_walk.py datasets/hela``.

``make studio`` is the one command. A Chromium then does what docs/tutorials/from-nothing.md says, a
person being played by the reference: outlines by polygon, areas, training, marks on the model's
masks, training again, and the count of images that nobody drew on. Port 3000 has to be free.
"""

import argparse
import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from playwright.sync_api import FilePayload, Page, Playwright, expect, sync_playwright
from scipy import ndimage
from skimage.measure import approximate_polygon, find_contours

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.people import area_of_whole_objects, deepest
from benchmarks.result import bar, report
from seg.images import read_mask
from tests.service.conftest import until_status
from tests.service.studio.hands import drag, spot

URL = "http://localhost:3000"
SCREEN = {"width": 1900, "height": 1200}
PICTURES, CORRECTED = 10, 3
ROUGH = 0.7
"""Pixels that a person's polygon is off the outline."""
MOST_MARKS = 12
HALF_AN_HOUR = 30.0
FEW = 0.15
"""Part of the objects by which a count may be off."""


@contextmanager
def studio(folder: Path) -> Iterator[None]:
    """The service as the one command starts it."""
    command = ["make", "studio", f"FOLDER={folder}"]
    with (folder.parent / "log.txt").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            with httpx.Client(base_url=URL, timeout=60) as client:
                until_status(client, "/livez", 200)
            yield
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(60)


class Person:
    """Hands on the page, played by the reference masks; counts what they do."""

    def __init__(self, page: Page, truth: dict[str, np.ndarray], seed: int):
        self.page = page
        self.truth = truth
        self.rng = np.random.default_rng(seed)
        self.outlines = self.clicks = self.keys = 0

    def press(self, key: str) -> None:
        """A key."""
        self.page.keyboard.press(key)
        self.keys += 1

    def click(self, x: float, y: float) -> None:
        """On a pixel of the image."""
        self.page.mouse.click(*spot(self.page, x, y))
        self.clicks += 1

    @property
    def image(self) -> str:
        """Which one is open."""
        return self.page.locator("#canvas").get_attribute("data-image") or ""

    def outline(self, objects: np.ndarray) -> None:
        """Corners of a polygon around it, and Enter."""
        padded = np.pad(objects, 1).astype(float)
        corners = max(find_contours(padded, 0.5), key=len) - 1
        for y, x in approximate_polygon(corners, ROUGH)[:-1]:
            high, wide = objects.shape
            self.click(min(max(round(x), 0), wide - 1), min(max(round(y), 0), high - 1))
        self.press("Enter")
        self.outlines += 1

    def draw(self, count: int) -> None:
        """Some objects that lie together, and the area around them."""
        numbers = self.truth[self.image]
        box, inside = area_of_whole_objects(numbers, count, self.rng)
        self.press("p")
        before = self.outlines
        for number in inside:
            self.outline(numbers == number)
        expect(self.page.locator("#count")).to_have_text(f"{self.outlines - before} objects")
        self.press("a")
        (top, bottom), (left, right) = [(side.start, side.stop - 1) for side in box]
        drag(self.page, (left, top), (right, bottom))
        self.clicks += 1
        self.finish()

    def finish(self) -> None:
        """Done."""
        self.press("d")
        expect(self.page.locator("#saved")).to_contain_text("Done")

    def go_on(self) -> None:
        """To the next image that the page names."""
        before = self.image
        self.press("j")
        expect(self.page.locator("#canvas")).not_to_have_attribute("data-image", before)

    def correct(self) -> None:
        """The model's mask, marked where it is wrong, and the rest is background."""
        self.press("m")
        expect(self.page.locator("#count")).not_to_have_text("0 objects")
        expect(self.page.locator("#saved")).to_have_attribute("data-state", "saved")
        truth = self.truth[self.image]
        drawn = self.page.request.get(f"{URL}/studio/images/{self.image}/label").body()
        missed, wrong = mistakes(truth, np.frombuffer(drawn, "<u2").reshape(truth.shape))
        for key, places in (("t", missed), ("n", wrong)):
            for y, x in places[:MOST_MARKS]:
                self.press(key)
                with self.page.expect_response("**/repair"):
                    self.click(x, y)
        self.press("r")
        self.finish()


def mistakes(truth: np.ndarray, found: np.ndarray) -> tuple[list[Any], list[Any]]:
    """Middles of objects that nothing was found of, and of what was found on none.

    What the image's edge cuts is left alone: references may leave it out.
    """
    found = np.where(found == np.iinfo(np.uint16).max, 0, found)
    return middles(truth, found > 0), middles(found, truth > 0)


def middles(numbers: np.ndarray, other: np.ndarray) -> list[tuple[int, int]]:
    """Deepest points of objects of which at most a tenth is covered."""
    found = []
    edge = np.zeros(numbers.shape, bool)
    edge[[0, -1]] = edge[:, [0, -1]] = True
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        if box is None:
            continue
        one = numbers[box] == number
        if other[box][one].mean() > 0.1 or edge[box][one].any():
            continue
        _, place = deepest(one)
        y, x = (at + side.start for at, side in zip(place, box, strict=True))
        found.append((y, x))
    return found


def trained(page: Page, minutes: float) -> str:
    """Presses Train, waits, and says what the page says."""
    page.fill("#minutes", f"{minutes:g}")
    page.click("#train")
    state = page.locator("#training")
    expect(state).to_have_attribute("data-state", "RUNNING")
    expect(state).not_to_have_attribute("data-state", "RUNNING", timeout=1000 * 60 * (minutes + 10))
    assert state.get_attribute("data-state") == "DONE", state.inner_text()
    return state.inner_text()


def counted(page: Page, images: list[Path], scratch: Path) -> dict[str, int]:
    """What the page counts in images, by its table of all of them."""
    page.click("header .end a")
    page.set_input_files("#files", images)
    expect(page.locator("#queue li[data-state=done]")).to_have_count(len(images), timeout=300_000)
    with page.expect_download() as download:
        page.click("[data-of-all=table]")
    table = scratch / "table.csv"
    download.value.save_as(table)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["image"]: int(row["objects"]) for row in rows if row["name"] == "nucleus"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="2D nnU-Net folder with instancesTr")
    parser.add_argument("--outlines", type=int, default=20)
    parser.add_argument("--drawn", type=int, default=5, help="images that somebody draws on first")
    parser.add_argument("--minutes", type=float, default=5, help="of each training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, default=Path("runs/studio-walk"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    shutil.rmtree(options.scratch, ignore_errors=True)
    options.scratch.mkdir(parents=True)
    pictures = sorted((options.data / "imagesTr").iterdir())[:PICTURES]
    tests = sorted((options.data / "imagesTs").iterdir())
    with studio(options.scratch.resolve() / "cells"), sync_playwright() as playwright:
        walk(playwright, pictures, tests, options)


def walk(
    playwright: Playwright, pictures: list[Path], tests: list[Path], options: argparse.Namespace
) -> None:
    """All of it, minute by minute."""
    browser = playwright.chromium.launch(
        executable_path=shutil.which("chromium"), args=["--no-sandbox"]
    )
    page = browser.new_page(viewport=SCREEN)
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    truth = {
        stem: read_mask(next((options.data / "instancesTr").glob(f"{stem}.*"))).array
        for stem in (path.name.split(".")[0].removesuffix("_0000") for path in pictures)
    }
    person = Person(page, truth, options.seed)
    begun = time.perf_counter()
    rows: list[dict[str, Any]] = []

    def told(what: str, **more: Any) -> None:
        minutes = round((time.perf_counter() - begun) / 60, 1)
        hands = {"outlines": person.outlines, "clicks": person.clicks, "keys": person.keys}
        rows.append({"what": what, "minutes": minutes, **hands, **more})
        print(rows[-1], flush=True)

    page.goto(f"{URL}/studio")
    page.fill("#class-names", "nucleus")
    page.click("#begin button")
    page.set_input_files("#files", sent(pictures))
    expect(page.locator("#images button")).to_have_count(len(pictures))
    expect(page.locator("#canvas")).to_have_attribute("data-image", min(truth))
    for number in range(options.drawn):
        if number:
            person.go_on()
        person.draw(round((options.outlines - person.outlines) / (options.drawn - number)))
    told("outlined")
    told("first model", says=trained(page, options.minutes))
    for _ in range(CORRECTED):
        person.go_on()
        person.correct()
    told("corrected")
    told("second model", says=trained(page, options.minutes))
    proposal = page.locator("#proposal")
    if proposal.is_visible():
        page.click("#accept")
        expect(proposal).to_be_hidden()
    told("decided", says=page.locator("#model-line").inner_text())
    found = counted(page, tests, options.scratch)
    there = {
        path.name: len(np.unique(read_mask(mask).array)) - 1
        for path in tests
        for mask in (options.data / "instancesTs").glob(path.name.removesuffix("_0000.tif") + ".*")
    }
    told("counted", found=found, there=there)
    off = abs(sum(found.values()) / sum(there.values()) - 1)
    minutes = rows[-1]["minutes"]
    bars = [
        bar("minutes from ten pictures to a table", minutes, HALF_AN_HOUR, at_most=True),
        bar("part by which the count of all test images is off", off, FEW, at_most=True),
    ]
    report("studio_walk", rows, bars, ["torch", "onnxruntime", "bentoml"], options.json)


def sent(pictures: list[Path]) -> list[FilePayload]:
    """Files under names without a channel, as a microscope writes them."""
    return [
        {
            "name": path.name.replace("_0000", ""),
            "mimeType": "image/tiff",
            "buffer": path.read_bytes(),
        }
        for path in pictures
    ]


if __name__ == "__main__":
    main()
