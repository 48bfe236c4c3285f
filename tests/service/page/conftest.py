"""A real Chromium on the page of a server that really runs."""

import io
import shutil
from collections.abc import Iterator

import numpy as np
import PIL.Image
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.service.conftest import PATIENCE_S

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = [
    "--no-sandbox",  # tests may run as root
    "--use-gl=angle",
    "--use-angle=swiftshader",  # WebGL 2 without a GPU
    "--enable-unsafe-swiftshader",
]
OF_AN_ANSWER = "Failed to load resource"
"""What Chromium's console says of every 4xx."""

expect.set_options(timeout=1000 * PATIENCE_S)


@pytest.fixture(scope="module")  # not longer: other tests start event loops of their own
def browser() -> Iterator[Browser]:
    """Debian's Chromium, or another that is installed."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip("no Chromium here: make browser")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser) -> Iterator:
    """Opens the page of a server; it may complain of nothing and ask nobody else."""
    complaints: list[str] = []
    contexts = []

    def open_page(url: str, at: str = "", *, ready: bool = True, **options) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE_S)
        page.on(
            "console",
            lambda said: (
                complaints.append(said.text)
                if said.type == "error" and OF_AN_ANSWER not in said.text
                else None
            ),
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((url, f"blob:{url}", "data:"))
                else complaints.append(request.url)
            ),
        )
        page.goto(f"{url}{at}")
        if ready:
            expect(page.locator("#model-line")).to_contain_text("nearest-level")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


@pytest.fixture
def page(client, open_page) -> Page:
    """The page of a server with a flat model."""
    return open_page(str(client.base_url))


def give(page: Page, *files: tuple[str, bytes]) -> None:
    """Choose files, named and with these bytes."""
    page.set_input_files(
        "#files",
        [
            {"name": name, "mimeType": "application/octet-stream", "buffer": content}
            for name, content in files
        ],
    )


def until_done(page: Page, name: str = "") -> None:
    """Wait until the mask is there; of this image, where that of another may have been."""
    expect(page.locator("#status")).to_contain_text(f"{name} is there")


def pixels_of(page: Page):
    """What the flat view shows at the middle of each pixel of a picture, (y, x, 3).

    The picture is fitted into its window, as it is at first.
    """
    scale, left, top, density = map(float, until_still(page).split())
    canvas = page.locator("#flat canvas")
    width, height = canvas.evaluate("({ width, height }) => [width, height]")
    assert scale >= 1, "no picture of a test is larger than the window"
    columns, rows = (
        density * (first + scale * (np.arange(round((size / density - 2 * first) / scale)) + 0.5))
        for first, size in ((left, width), (top, height))
    )
    places = [rows.astype(int).tolist(), columns.astype(int).tolist()]
    values = canvas.evaluate(  # the middles alone: all of a window would be megabytes of JSON
        """(canvas, [rows, columns]) => {
            const { width, height } = canvas;
            const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
            return rows.flatMap((y) => columns.flatMap((x) => [0, 1, 2].map((at) => data[4 * (y * width + x) + at])));
        }""",  # noqa: E501
        places,
    )
    return np.array(values).reshape(len(rows), len(columns), 3)


def until_still(page: Page) -> str:
    """Where the picture lies, once it has been drawn."""
    page.evaluate(
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    return str(page.locator("#flat canvas").get_attribute("data-view"))


def screenshot_of(page: Page, selector: str):
    """What a person sees of an element, (y, x, 3)."""
    picture = PIL.Image.open(io.BytesIO(page.locator(selector).screenshot()))
    return np.asarray(picture.convert("RGB")).astype(int)


def set_slider(page: Page, selector: str, percent: int) -> None:
    """Move a slider from 0 to 100 as a person at a keyboard does."""
    slider = page.locator(selector)
    slider.focus()
    slider.press("End" if percent > 50 else "Home")
    for _ in range(abs(percent - (100 if percent > 50 else 0)) // 10):
        slider.press("PageDown" if percent > 50 else "PageUp")
    assert int(slider.input_value()) == percent
