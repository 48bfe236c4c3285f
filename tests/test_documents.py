"""The documents as a site: ``make docs``."""

import html
import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from seg.errors import ConfigError
from seg.images import Image, write_image
from seg.names import chosen
from tests.packages import write_package

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium")
ROOMS = [
    "seg.images",
    "seg.transforms",
    "seg.networks",
    "seg.metrics",
    "seg.model_package",
    "seg.inference",
    "training.dataset",
    "seg.client",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_the_site_fetches_nothing_from_elsewhere(site):
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        tags = re.findall(r"<(?:script|link|img|iframe|source|use)\b[^>]*>", text)
        loads = " ".join(re.findall(r"(?:src|srcset|href)=[\"']?([^\"' >]+)", " ".join(tags)))
        loads += " ".join(re.findall(r"(?:url\(|@import)\s*[\"']?([^\"')]+)", text))
        assert not re.search(r"(?<!\w)(https?:)?//", loads), f"{page.relative_to(site)}: {loads}"
        assert 'class="mermaid"' not in text, f"{page}: its program comes from a CDN"


def test_every_kind_of_error_has_its_cause_and_cure():
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    for module in ("seg.errors", "service.errors"):
        for name, error in vars(importlib.import_module(module)).items():
            is_error = isinstance(error, type) and issubclass(error, Exception)
            if is_error and name != "SegError":
                assert f"| `{name}` |" in text, f"{module}.{name}"


def test_the_notebook_runs(tmp_path, monkeypatch):
    write_package(tmp_path / "runs" / "demo" / "package", channels=2)
    pixels = np.random.default_rng(0).integers(0, 255, (2, 50, 60), np.uint8)
    write_image(tmp_path / "runs" / "demo" / "scan.tif", Image(pixels))
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "docs" / "notebooks" / "quick-start.ipynb").read_text("utf-8"))
    names = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert sum(names["sizes"].values()) == 50 * 60
    assert (names["picture"].height, names["picture"].width) == (50, 60)
    assert json.loads((tmp_path / "outlines.geojson").read_text())["features"]


@pytest.mark.parametrize("room", ROOMS)
def test_the_reference_has_all_that_a_room_exports(site, room):
    pages = " ".join(page.read_text("utf-8") for page in (site / "reference").glob("*.html"))
    names = importlib.import_module(room).__all__
    shown = set(re.findall(rf'id="{room}\.(?:\w+\.)?(\w+)"', pages))
    assert set(names) - shown == set()


def test_a_sentence_on_the_screen_is_found_under_its_kind(site):
    with pytest.raises(ConfigError) as refused:
        chosen({"identity": 1, "preact": 2}, "identiy", "shortcut")
    assert "is called 'identiy'; did you mean identity?" in str(refused.value)
    page = html.unescape((site / "sentences.html").read_text(encoding="utf-8"))
    *_, section = page[: page.index("is called … ; did you mean … ?")].split("<h2")
    assert 'id="configerror"' in section


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: make browser")
def test_search_works_in_pages_opened_from_a_folder(site):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto((site / "index.html").as_uri())
        page.locator("input.md-search__input").fill("address names no study and no series")
        links = page.locator("a.md-search-result__link")
        links.first.wait_for()
        assert any("sentences.html" in (link.get_attribute("href") or "") for link in links.all())
        browser.close()
