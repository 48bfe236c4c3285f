"""The page in Debian's Firefox: what browsers do differently, in one tab after the other."""

import io
import json

import numpy as np
import pytest
import tifffile
from axe_playwright_python.base import AXE_FILE_PATH

from tests.packages import write_package
from tests.service.conftest import labels_of, png, serving
from tests.service.page.firefox import firefox
from tests.service.page.test_flat import BANDS, blended, picture_of
from tests.service.routes.test_objects import touching_nuclei

OF_THE_FLAT_VIEW = """async () => {
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const canvas = document.querySelector("#flat canvas");
    const [scale, left, top, density] = canvas.dataset.view.split(" ").map(Number);
    const context = canvas.getContext("2d");
    const at = (place, from) => Math.floor(density * (from + scale * (place + 0.5)));
    const rows = [];
    for (let y = 0; y < 40; y += 1) {
        for (let x = 0; x < 90; x += 1) {
            rows.push(...context.getImageData(at(x, left), at(y, top), 1, 1).data.slice(0, 3));
        }
    }
    return JSON.stringify(rows);
}"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """A client of a server whose model knows objects."""
    folder = tmp_path_factory.mktemp("cells")
    with serving(write_package(folder / "package", objects=True), folder) as client:
        yield client


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    """A tab that prefers German and a dark look."""
    folder = tmp_path_factory.mktemp("profile")
    wishes = {"intl.accept_languages": "de-DE, en", "ui.systemUsesDarkTheme": 1}
    with firefox(folder, **wishes) as tab:
        yield tab


def opened(tab, client):
    tab.open(str(client.base_url))
    tab.until_says("#model-line", "nearest")
    return tab


def test_firefox_shows_the_mask_that_the_service_gives(client, tab, tmp_path):
    (tmp_path / "scan.png").write_bytes(png(BANDS))
    opened(tab, client)
    tab.give(tmp_path / "scan.png")
    tab.until_says("#status", "ist da")
    tab.until("() => Boolean(document.querySelector('#flat canvas').dataset.view)")
    seen = np.array(json.loads(tab.ask(OF_THE_FLAT_VIEW))).reshape(40, 90, 3)
    labels = labels_of(client.post("/segment", content=png(BANDS)).content)
    expected = blended(picture_of(client, png(BANDS)), labels, 0.5)
    assert np.abs(seen - expected).max() <= 2
    assert not tab.complaints


def test_firefox_speaks_german_is_dark_and_nothing_is_in_the_way_of_anybody(cells, tab, tmp_path):
    (tmp_path / "leer.png").write_bytes(png(np.zeros((48, 72))))
    opened(tab, cells)
    assert tab.ask("() => document.documentElement.lang") == "de"
    tab.give(tmp_path / "leer.png")
    tab.until_says("#status", "ist da, mit 2 Warnungen")
    assert tab.text("#warnings li") == "Fast alle Werte sind 0: Das Bild scheint leer zu sein."
    dark = tab.ask("() => getComputedStyle(document.body).backgroundColor")
    assert dark == "rgb(15, 21, 27)"
    tab.ask(f"() => {{ {AXE_FILE_PATH.read_text()} }}")
    found = tab.ask("async () => JSON.stringify((await axe.run()).violations)")
    assert json.loads(found) == []
    tab.click("#clear")
    assert not tab.complaints


def test_firefox_tells_objects_apart_keeps_them_over_a_reload_and_obeys_keys(cells, tab, tmp_path):
    (tmp_path / "nuclei.png").write_bytes(png(touching_nuclei()))
    opened(tab, cells)
    tab.give(tmp_path / "nuclei.png")
    tab.until_says("#status", "nuclei.png ist da")
    count = cells.post("/segment?format=objects", content=png(touching_nuclei())).json()
    rows = "() => document.querySelectorAll('#objects tbody tr').length"
    assert tab.ask(rows) == len(count["objects"])
    tab.click("#objects tbody tr")
    tab.until("() => document.querySelector('#mode').value === 'objects'")
    tab.press("m")
    tab.until("() => document.querySelector('#mode').value === 'uncertainty'")
    tab.press("f")
    tab.until("() => document.body.classList.contains('folded')")
    opened(tab, cells)
    tab.until_says("#status", "nuclei.png ist da")
    assert tab.ask(rows) == len(count["objects"])
    tab.click("#clear")
    assert not tab.complaints


def test_firefox_takes_a_stack_apart_and_says_what_it_cannot_read(cells, tab, tmp_path):
    file = io.BytesIO()
    frames = np.stack([touching_nuclei(), touching_nuclei()[::-1]])
    tifffile.imwrite(file, frames, imagej=True, metadata={"axes": "TYX"})
    (tmp_path / "film.tif").write_bytes(file.getvalue())
    (tmp_path / "broken.png").write_bytes(b"nothing")
    opened(tab, cells)
    tab.give(tmp_path / "film.tif", tmp_path / "broken.png")
    tab.until("() => document.querySelectorAll('#queue [data-state=done]').length === 2")
    tab.until("() => document.querySelectorAll('#queue [data-state=failed]').length === 1")
    tab.press("j", "j")
    tab.until_says("#alert", "broken.png: Diese Datei kann der Dienst nicht lesen. PNG, JPEG")
    tab.click("#clear")
    assert not tab.complaints
