"""Pictures of a report and of a terminal for the docs: ``python -m tests.report_picture RUN docs``.

RUN is a finished training (`make demo` makes runs/demo). Writes ``report.png``, the top of its
report, and ``terminal.png``: what commands say of good and of bad input, as they say it now.
"""

import argparse
import html
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from data.phantom import draw

COMMANDS = (
    "seg --help",
    "seg check blobs",
    "seg check blbos",
    "seg fit blobs --network resnet43",
    "seg predict blobs scan.tif --out masks",
)
"""The verbs, data as they should be, and three slips."""
TERMINAL = """<!doctype html><meta charset="utf-8"><title>terminal</title><style>
body {{ margin: 0; padding: 28px 32px; background: #14181d; color: #dde3ea; width: max-content }}
pre {{ font: 15px/1.5 "DejaVu Sans Mono", monospace; margin: 0 }}
b {{ color: #56b4e9; font-weight: normal }}
</style><pre>{text}</pre>"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a finished training")
    parser.add_argument("folder", type=Path, help="for the pictures")
    options = parser.parse_args()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as scratch:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        report = (options.run / "report.html").resolve()
        take(browser, report.as_uri(), options.folder / "report.png", 960)
        page = Path(scratch) / "terminal.html"
        page.write_text(TERMINAL.format(text=said(Path(scratch))), encoding="utf-8")
        take(browser, page.as_uri(), options.folder / "terminal.png", None)
        browser.close()


def said(folder: Path) -> str:
    """What the commands print in a folder with a small dataset, as HTML."""
    draw(folder / "blobs", cases=6, size=(64, 64))
    blocks = []
    for command in COMMANDS:
        verb = [Path(sys.executable).with_name("seg"), *command.split()[1:]]
        answer = subprocess.run(
            verb, cwd=folder, capture_output=True, text=True, check=False, timeout=300
        )
        blocks.append(
            f"<b>$ {html.escape(command)}</b>\n{html.escape(answer.stdout + answer.stderr)}"
        )
    return "\n".join(blocks)


def take(browser: Browser, url: str, file: Path, height: int | None) -> None:
    """A picture of a page: of its first pixels, or of all that is written on it."""
    viewport = {"width": 1200, "height": height or 400}
    page = browser.new_context(viewport=viewport, color_scheme="light").new_page()
    page.goto(url)
    page.wait_for_timeout(500)
    if height is None:
        page.locator("body").screenshot(path=file)
    else:
        page.screenshot(path=file)
    page.context.close()
    with Image.open(file) as picture:
        picture.load()
    picture.quantize(256).save(file, optimize=True)  # a third of the bytes, nothing to be seen


if __name__ == "__main__":
    main()
