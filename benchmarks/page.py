"""The web page in a real Chromium: what it weighs, when it paints, how smoothly it moves, slides.

`python benchmarks/page.py [--json FILE]` serves a small model on this machine and opens the page
as a stranger's browser does, with nothing kept. Bytes are those on the wire, all of the browser's
processes are weighed together (private memory), frames are timed while the picture is moved and
zoomed, a step in each. Needs Chromium, times Firefox too where it is installed (`make browser`),
and needs no GPU: the canvas is drawn by the processor here. Two minutes on two quiet cores.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tifffile
from playwright.sync_api import Browser, Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.result import bar, report
from tests.packages import write_package
from tests.service.conftest import served, until_status
from tests.service.page.firefox import FIREFOX, firefox

FIRST_PAINT_KB, FIRST_PAINT_MS, SHIFT = 150, 300, 0.0
FRAMES, SLIDE_S, SLIDE_MB = 60, 2.0, 200
EDGE, SLIDE_EDGE = 4096, 20_000
MOVED_S = 8
OBSERVER = """
window.shift = 0;
new PerformanceObserver((list) => list.getEntries().forEach((entry) => {
  if (!entry.hadRecentInput) window.shift += entry.value;
})).observe({ type: "layout-shift", buffered: true });
"""
MOVE = """async (seconds) => {
  const stage = document.querySelector("#flat .stage");
  const box = stage.getBoundingClientRect();
  const middle = { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2 };
  const press = (key) => stage.dispatchEvent(new KeyboardEvent("keydown", { key }));
  const turn = (deltaY) => stage.dispatchEvent(new WheelEvent("wheel", { deltaY, cancelable: true, ...middle }));
  const acts = [() => press("ArrowLeft"), () => turn(-20), () => press("ArrowRight"), () => turn(20)];
  const frame = () => new Promise(requestAnimationFrame);
  const times = [];
  await frame();
  const begun = await frame();
  for (let last = begun; last - begun < 1000 * seconds; ) {
    acts[Math.floor(times.length / 60) % acts.length]();
    const now = await frame();
    times.push(now - last);
    last = now;
  }
  return JSON.stringify(times);
}"""  # noqa: E501
"""To one side, larger, back, smaller, a step in each frame; the milliseconds of each."""
PAINT = """() => {
  const kinds = ["resource", "navigation"];
  const entries = kinds.flatMap((kind) => performance.getEntriesByType(kind));
  const [paint] = performance.getEntriesByName("first-contentful-paint");
  return JSON.stringify({
    kb: entries.reduce((sum, entry) => sum + entry.transferSize, 0) / 1000,
    files: entries.length,
    paint_ms: paint?.startTime ?? null,
    shift: window.shift ?? null,
  });
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="of the first paint")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        package = write_package(folder / "package", patch=(512, 512), channels=3)
        slide, picture = folder / "slide.tif", folder / "picture.tif"
        write_slide(slide, SLIDE_EDGE)
        tifffile.imwrite(picture, field(EDGE), photometric="rgb", compression="zlib")
        limits = {"SEG_MAX_PIXELS": "500000000", "SEG_MAX_BODY_MB": "2000"}
        with served(package, folder / "log.txt", **limits) as client:
            until_status(client, "/readyz", 200)
            url = str(client.base_url)
            paints, plain, moving, opened = in_chromium(url, arguments.runs, picture, slide)
            others = in_firefox(folder, url, picture)  # has an event loop, as Playwright has
    rows: list[dict[str, Any]] = [*paints, *plain, moving, opened, *others]
    bars = [
        bar("kB on the wire until the page is usable",
            max(row["kb"] for row in paints), FIRST_PAINT_KB, at_most=True),
        bar("ms to the first paint, median",
            statistics.median(row["paint_ms"] for row in paints), FIRST_PAINT_MS, at_most=True),
        bar("layout shift", max(row["shift"] for row in paints), SHIFT, at_most=True),
        bar(f"frames a second, {EDGE} x {EDGE}, moved and zoomed",
            moving["frames"], FRAMES - 1, at_most=False),
        bar(f"s until a slide of {SLIDE_EDGE} x {SLIDE_EDGE} is seen",
            opened["seen_s"], SLIDE_S, at_most=True),
        bar("MB that the browser takes more with it", opened["more_mb"], SLIDE_MB, at_most=True),
    ]  # fmt: skip
    for row in others:
        if "frames" in row:
            bars.append(bar(f"frames a second in Firefox, {EDGE} x {EDGE}, moved and zoomed",
                            row["frames"], FRAMES - 1, at_most=False))  # fmt: skip
    report("page", rows, bars, ("playwright", "tifffile", "bentoml"), arguments.json)


def in_chromium(url: str, runs: int, picture: Path, slide: Path) -> tuple[Any, Any, Any, Any]:
    """First paints, those of a text file, frames, and a slide."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        first_paint(browser, url)  # the service reads and packs its files for the first
        paints = [told(first_paint(browser, url)) for _ in range(runs)]
        plain = [told(plain_paint(browser, url)) for _ in range(runs)]
        moving = told(frames_a_second(browser, url, picture))
        opened = told(open_slide(browser, url, slide))
        browser.close()
    return paints, plain, moving, opened


def told(row: dict[str, Any]) -> dict[str, Any]:
    """A row, as soon as it is known."""
    print(row, flush=True)
    return row


def opened_page(browser: Browser, url: str) -> Page:
    """The page in a context that has kept nothing."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.add_init_script(OBSERVER)
    page.set_default_timeout(300_000)
    page.goto(url)
    expect(page.locator("#model-line")).to_contain_text("nearest-level", timeout=60_000)
    return page


def first_paint(browser: Browser, url: str) -> dict[str, Any]:
    """Bytes, and when something was seen first."""
    page = opened_page(browser, url)
    told = json.loads(page.evaluate(PAINT))
    page.context.close()
    return {"what": "first paint", **told}


def plain_paint(browser: Browser, url: str) -> dict[str, Any]:
    """When the same browser paints a text file of the same service: it cannot be faster."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.goto(f"{url}/page/fflate/LICENSE")
    page.wait_for_timeout(300)
    told = json.loads(page.evaluate(PAINT))
    page.context.close()
    return {"what": "first paint of a text file", "paint_ms": told["paint_ms"]}


def frames_a_second(browser: Browser, url: str, file: Path) -> dict[str, Any]:
    """How often it is drawn while a large picture with its mask is moved and zoomed."""
    page = opened_page(browser, url)
    page.set_input_files("#files", file)
    expect(page.locator("#status")).to_contain_text("is there", timeout=300_000)
    page.wait_for_timeout(1000)
    page.locator("#flat .stage").focus()
    times = json.loads(page.evaluate(MOVE, MOVED_S))
    page.context.close()
    return {"what": "moved", "edge": EDGE, **frames_in(times)}


def frames_in(times: list[float]) -> dict[str, float]:
    """Of milliseconds a frame: how many a second, the longest of twenty, those that came late."""
    return {
        "frames": 1000 / statistics.mean(times),
        "p95_ms": float(np.percentile(times, 95)),
        "late_share": statistics.mean(each > 1500 / FRAMES for each in times),
    }


def in_firefox(folder: Path, url: str, file: Path) -> list[dict[str, Any]]:
    """First paint and frames in Debian's Firefox, where it is installed."""
    if not any(map(shutil.which, FIREFOX)):
        return [{"what": "no Firefox here: make browser"}]
    profile = folder / "profile"
    profile.mkdir()
    with firefox(profile) as tab:
        tab.open(url)
        tab.until_says("#model-line", "nearest-level")
        paint = json.loads(tab.ask(PAINT))
        tab.give(file)
        tab.until_says("#status", "is there")
        time.sleep(1)
        times = json.loads(tab.ask(f"() => ({MOVE})({MOVED_S})"))
    return [
        told({"what": "first paint in Firefox", "paint_ms": paint["paint_ms"]}),
        told({"what": "moved in Firefox", "edge": EDGE, **frames_in(times)}),
    ]


def open_slide(browser: Browser, url: str, file: Path) -> dict[str, Any]:
    """When a slide is seen, when a part of it is seen finely, and the memory that it takes."""
    page = opened_page(browser, url)
    canvas = page.locator("#flat canvas")
    before = memory_mb()
    begun = time.perf_counter()
    page.set_input_files("#files", file)
    while canvas.get_attribute("data-view") is None:
        time.sleep(0.02)
    seen = time.perf_counter() - begun
    box = page.locator("#flat .stage").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    begun = time.perf_counter()
    with page.expect_response("**/picture?*region=*") as answered:
        page.mouse.wheel(0, -1500)
    answered.value.finished()
    fine = time.perf_counter() - begun
    peak = memory_mb()
    page.context.close()
    return {
        "what": "slide", "edge": SLIDE_EDGE, "file_mb": file.stat().st_size / 1e6,
        "seen_s": seen, "fine_s": fine, "more_mb": peak - before,
    }  # fmt: skip


def memory_mb() -> float:
    """Private memory of all processes of the browser."""
    processes = psutil.Process().children(recursive=True)
    kinds = [each for each in processes if "chromium" in each.name()]
    return sum(each.memory_full_info().uss for each in kinds) / 1e6


def field(edge: int) -> np.ndarray:
    """Stained tissue, about: (edge, edge, 3)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:1024, :1024].astype(np.float32)
    base = 200 + 20 * np.sin(x / 90) * np.cos(y / 70)
    image = np.stack([base, base - 40, base - 10], axis=-1)
    for row, column in rng.uniform(16, 1008, (400, 2)):
        near = slice(int(row) - 14, int(row) + 14), slice(int(column) - 14, int(column) + 14)
        image[near][np.hypot(y[near] - row, x[near] - column) < 9] = (90, 60, 130)
    noisy = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    times = -(-edge // 1024)
    return np.tile(noisy, (times, times, 1))[:edge, :edge]


def write_slide(file: Path, edge: int) -> None:
    """A pyramid of tiles in JPEG, as scanners write it."""
    whole = field(edge)
    options: dict[str, Any] = {
        "tile": (512, 512), "photometric": "rgb",
        "compression": "jpeg", "compressionargs": {"level": 80},
    }  # fmt: skip
    with tifffile.TiffWriter(file) as writer:
        writer.write(whole, subifds=6, **options)
        for level in range(1, 7):
            step = 2**level
            writer.write(np.ascontiguousarray(whole[::step, ::step]), subfiletype=1, **options)


if __name__ == "__main__":
    main()
