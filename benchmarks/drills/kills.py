"""Services killed over what is being uploaded, and what they leave."""

import io
import random
import shutil
import sqlite3
import tempfile
import time
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import imagecodecs
import numpy as np

from benchmarks import servers
from benchmarks.drills.drill import Drill
from benchmarks.drills.outages import SMALL, until
from benchmarks.servers import Server
from seg.model_package import read_card, write_card

TURNS = 8
LONGEST_S = 1.6
"""Between an upload's begin and the kill: as long as a package takes to be proven."""
KEY_FREE_S = 75.0
NOISE = np.random.default_rng(0).integers(0, 256, (4000, 4000), np.uint8)
IMAGE = bytes(imagecodecs.png_encode(NOISE, level=1))
TAKEN = (200, 201, 202)


def killed_uploads(drill: Drill) -> None:
    """SIGKILL to the process that serves, at random moments of uploads of every kind."""
    models, studio, jobs = (drill.folder / name for name in ("models", "studio", "jobs"))
    models.mkdir()
    shutil.copytree(drill.package(), models / "first")
    card = read_card(models / "first")
    settings = {
        "SEG_PACKAGE": "", "SEG_MODELS": str(models), "SEG_MODELS_POLL_S": "1",
        "SEG_DEFAULT_MODEL": card.name, "SEG_MAX_MODELS": "12", "SEG_STUDIO": str(studio),
        "SEG_PROVIDER": "cpu", **drill.jobs(),
    }  # fmt: skip
    chance, answers = random.Random(drill.seed), Counter[str]()
    with servers.seg(Path(), log=drill.folder / "log", **settings) as server:
        pin = {"json": {"pinned": card.version}}  # no candidate goes live by the next one's coming
        _sent(server, "PATCH", f"/models/{card.name}", pin)
        for turn in range(TURNS):
            body = _packed(models / "first", f"{turn + 2}")
            with ThreadPoolExecutor(4) as pool:
                sent = [
                    pool.submit(_sent, server, *each)
                    for each in (
                        ("POST", "/segment", {"content": IMAGE}),
                        ("POST", "/jobs", {"content": IMAGE, "headers": _key(turn)}),
                        ("PUT", f"/models/{card.name}?share={turn % 2 / 2}", {"content": body}),
                        ("PUT", f"/studio/images/a{turn}", {"files": {"file": ("a.png", IMAGE)}}),
                    )
                ]
                time.sleep(chance.uniform(0.05, LONGEST_S))
                server.worker().kill()
                answers.update(each.result() for each in sent)
            ready = servers.wait_for(server.port, "/readyz")
            segmented = Counter(
                _sent(server, "POST", "/segment", {"content": SMALL}) for _ in "12345678"
            )
            drill.saw(turn=turn, segmented_after=dict(segmented), ready=ready > 0)
            drill.at_least(f"turn {turn}: segmented after it, of 8", segmented["200"], 8)
        drill.saw(answers=dict(answers))
        drill.at_most("answers of 500", answers["500"], 0)
        _look(drill, server, jobs / "jobs.sqlite", studio)


def _look(drill: Drill, server: Server, database: Path, studio: Path) -> None:
    """What there is is whole, and what is not whole goes."""
    begun = time.monotonic()
    again = []
    for turn in range(TURNS):
        request = ("POST", "/jobs", {"content": IMAGE, "headers": _key(turn)})
        until(lambda request=request: _sent(server, *request) == "202", KEY_FREE_S)
        again.append(time.monotonic() - begun)
    drill.at_most("seconds until each Idempotency-Key is taken again", max(again), KEY_FREE_S)
    listed = _asked(server, "/studio/images")["images"]
    whole = [path.read_bytes() == IMAGE for path in (studio / "images").glob("[!.]*")]
    drill.saw(images=len(listed), whole=sum(whole), keys_free_s=max(again))
    drill.at_least("images in the studio that are whole", sum(whole), len(listed))
    until(lambda: not _rows(database, "uploading"), 2 * KEY_FREE_S)
    folders = {path.name for path in database.parent.iterdir() if path.is_dir()}
    left = folders - {
        row for state in ("queued", "running", "done", "failed") for row in _rows(database, state)
    }
    drill.saw(jobs=len(folders), left_of_others=len(left))
    drill.at_most("folders of jobs that there are not", len(left), 0)
    versions = [each for model in _asked(server, "/models")["models"] for each in model["versions"]]
    drill.saw(versions=dict(Counter(each["state"] for each in versions)))
    drill.at_most("broken versions", sum(each["state"] == "broken" for each in versions), 0)


def _rows(database: Path, state: str) -> list[str]:
    with sqlite3.connect(database, timeout=10) as connection:
        found = connection.execute("select id from seg_jobs_2 where state = ?", (state,))
        return [row for (row,) in found]


def _key(turn: int) -> dict[str, str]:
    return {"Idempotency-Key": f"turn {turn}"}


def _sent(server: Server, method: str, path: str, content: dict[str, Any]) -> str:
    """The status of the answer."""
    try:
        url = f"http://127.0.0.1:{server.port}{path}"
        return str(httpx.request(method, url, timeout=60, **content).status_code)
    except httpx.TransportError:
        return "closed"


def _asked(server: Server, path: str) -> Any:
    return httpx.get(f"http://127.0.0.1:{server.port}{path}", timeout=60).json()


def _packed(package: Path, version: str) -> bytes:
    """Another version of a package, as a ZIP file."""
    body = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(body, "w") as archive:
        made = Path(shutil.copytree(package, Path(folder) / "package"))
        write_card(made, read_card(made).model_copy(update={"version": version}))
        for file in made.iterdir():
            archive.write(file, file.name)
    return body.getvalue()
