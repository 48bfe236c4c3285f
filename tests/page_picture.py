"""The pictures of the page in README and docs: ``python -m tests.page_picture PACKAGE docs``.

Serves a package that carries an example (`make demo` makes one), tries it in Chromium, and writes
``page.png``; of one that shows test cases (``training.export --show-cases``) also
``page-model.png``.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from tests.service.conftest import served, until_status

DESKTOP = {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path, help="with an example")
    parser.add_argument("folder", type=Path, help="for the picture")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        with served(options.package.resolve(), Path(scratch) / "log.txt") as client:
            until_status(client, "/readyz", 200)
            url = str(client.base_url)
            take(browser, url, options.folder / "page.png", "objects", DESKTOP)
            card = client.get("/model").json()
            if card["pictured_cases"]:
                take_model(browser, f"{url}/models/{card['name']}", options.folder)
        browser.close()


def take(browser: Browser, url: str, file: Path, mode: str, context: dict) -> None:
    """A picture of the page with its example."""
    page = browser.new_context(**context).new_page()
    page.goto(url)
    page.get_by_role("button", name="Try an example").click()
    expect(page.locator("#status")).to_contain_text("is there", timeout=120_000)
    if page.locator(f"#mode option[value={mode}]").is_enabled():
        page.select_option("#mode", mode)
    page.wait_for_timeout(500)
    page.screenshot(path=file)
    page.context.close()


def take_model(browser: Browser, url: str, folder: Path) -> None:
    """A picture of a model's page, down to its test cases."""
    page = browser.new_context(**DESKTOP).new_page()
    page.goto(url)
    expect(page.locator("#cases img").last).to_be_visible()
    page.wait_for_timeout(500)
    page.screenshot(path=folder / "page-model.png")
    page.context.close()


if __name__ == "__main__":
    main()
