"""The page in Debian's Firefox, which is driven by WebDriver BiDi.

Source: https://w3c.github.io/webdriver-bidi/. Playwright's own driver wants a Firefox that it has
patched, and newer commands than Firefox's long-term releases know.
"""

import asyncio
import itertools
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import numpy as np
import pytest

from tests.service.conftest import PATIENCE_S, labels_of, png
from tests.service.page.test_flat import BANDS, blended, picture_of

FIREFOX = ("firefox-esr", "firefox")
LISTENS = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")
OF_THE_FLAT_VIEW = """() => {
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


class Tab:
    """A tab of Firefox."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket) -> None:
        self._loop, self._socket = loop, socket
        self._numbers = itertools.count(1)
        self.complaints: list[str] = []
        self.send("session.new", capabilities={})
        self.send("session.subscribe", events=["log.entryAdded"])
        self._id = self.send("browsingContext.getTree")["contexts"][0]["context"]

    def send(self, method: str, **parameters):
        """A command and its answer."""
        number = next(self._numbers)

        async def asked():
            await self._socket.send_json({"id": number, "method": method, "params": parameters})
            while True:
                told = await self._socket.receive_json(timeout=PATIENCE_S)
                if told.get("id") == number:
                    return told
                if told.get("params", {}).get("level") == "error":
                    self.complaints.append(told["params"]["text"])

        told = self._loop.run_until_complete(asked())
        assert told["type"] == "success", told
        return told["result"]

    def open(self, url: str) -> None:
        self.send("browsingContext.navigate", context=self._id, url=url, wait="complete")

    def ask(self, function: str, **options):
        """What a function of the page returns."""
        answer = self.send(
            "script.callFunction",
            functionDeclaration=function,
            target={"context": self._id},
            awaitPromise=True,
            **options,
        )
        assert answer["type"] == "success", answer
        return answer["result"].get("value")

    def until(self, function: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not self.ask(function):
            assert time.monotonic() < deadline, function
            time.sleep(0.1)

    def give(self, file) -> None:
        """Choose a file."""
        found = self.send(
            "browsingContext.locateNodes",
            context=self._id,
            locator={"type": "css", "value": "#files"},
        )
        element = {"sharedId": found["nodes"][0]["sharedId"]}
        self.send("input.setFiles", context=self._id, element=element, files=[str(file)])


@contextmanager
def firefox(folder) -> Iterator[Tab]:
    """A Firefox that has kept nothing."""
    path = next(filter(None, map(shutil.which, FIREFOX)), None)
    if path is None:
        pytest.skip("no Firefox here: make browser")
    command = [path, "--headless", "--no-remote", "--remote-debugging-port", "0"]
    process = subprocess.Popen(
        [*command, "--profile", str(folder)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    loop = asyncio.new_event_loop()
    try:
        address = next(filter(None, map(LISTENS.search, process.stderr)))[1].decode()
        client = loop.run_until_complete(_started())
        socket = loop.run_until_complete(client.ws_connect(f"{address}/session", max_msg_size=0))
        yield Tab(loop, socket)
        loop.run_until_complete(socket.close())
        loop.run_until_complete(client.close())
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        process.stderr.close()
        loop.close()


async def _started() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()


def test_firefox_shows_the_mask_that_the_service_gives(client, tmp_path):
    (tmp_path / "scan.png").write_bytes(png(BANDS))
    (tmp_path / "profile").mkdir()
    with firefox(tmp_path / "profile") as tab:
        tab.open(str(client.base_url))
        tab.until("() => document.querySelector('#model-line').textContent.includes('nearest')")
        tab.give(tmp_path / "scan.png")
        tab.until("() => document.querySelector('#status').textContent.includes('is there')")
        tab.until("() => Boolean(document.querySelector('#flat canvas').dataset.view)")
        seen = np.array(json.loads(tab.ask(OF_THE_FLAT_VIEW))).reshape(40, 90, 3)
        assert not tab.complaints
    labels = labels_of(client.post("/segment", content=png(BANDS)).content)
    expected = blended(picture_of(client, png(BANDS)), labels, 0.5)
    assert np.abs(seen - expected).max() <= 2
