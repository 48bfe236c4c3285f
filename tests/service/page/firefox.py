"""Debian's Firefox, driven by WebDriver BiDi.

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
import pytest

from tests.service.conftest import PATIENCE_S

FIREFOX = ("firefox-esr", "firefox")
LISTENS = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")


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

    def text(self, selector: str) -> str:
        """What an element says."""
        return str(self.ask(f"() => document.querySelector({json.dumps(selector)}).textContent"))

    def until_says(self, selector: str, part: str) -> None:
        """Wait until an element says so."""
        place, wanted = json.dumps(selector), json.dumps(part)
        self.until(f"() => document.querySelector({place}).textContent.includes({wanted})")

    def click(self, selector: str) -> None:
        self.ask(f"() => {{ document.querySelector({json.dumps(selector)}).click(); }}")

    def press(self, *keys: str) -> None:
        """Keys as a keyboard sends them."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        source = {"type": "key", "id": "keyboard", "actions": actions}
        self.send("input.performActions", context=self._id, actions=[source])

    def give(self, *files) -> None:
        """Choose files."""
        found = self.send(
            "browsingContext.locateNodes",
            context=self._id,
            locator={"type": "css", "value": "#files"},
        )
        element = {"sharedId": found["nodes"][0]["sharedId"]}
        self.send("input.setFiles", context=self._id, element=element, files=[*map(str, files)])


@contextmanager
def firefox(folder, **preferences: str) -> Iterator[Tab]:
    """A Firefox that has kept nothing, with preferences such as ``intl.accept_languages``."""
    path = next(filter(None, map(shutil.which, FIREFOX)), None)
    if path is None:
        pytest.skip("no Firefox here: make browser")
    lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in preferences.items()]
    (folder / "user.js").write_text("\n".join(lines))
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
