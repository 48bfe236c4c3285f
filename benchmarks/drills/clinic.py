"""A PACS, scanners and ``service.dicom``, of which one stops in the middle.

Orthanc is Debian's, and really runs; senders do what scanners do: send again what broke off.
"""

import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from benchmarks import servers
from benchmarks.drills.cut_off import CuttingProxy
from benchmarks.drills.drill import Drill
from benchmarks.drills.outages import until
from benchmarks.servers import ROOT
from benchmarks.small_package import write_package
from tests.orthanc import free_port, names_in, orthanc
from tests.service.frontends.dicomweb.conftest import study
from tests.service.frontends.dimse.receiving import Receiving, sent_until_taken, wrong_results

SERIES, SENDERS, KILLS = 200, 8, 2
FEW = 40
AWAY_S = 10.0
CUT_BYTES = 3_000
"""Of a direction, after which a connection is cut: in the middle of a result."""
CUTS = 20
QUIET_S = 5.0
"""For one result more that must not come."""
PATCH = (8, 16, 16)
AFFINE = np.diag([0.8, 1.5, 3, 1.0])


@dataclass
class Clinic:
    """What runs."""

    pacs: Any
    service: Receiving
    series: Sequence[Any]
    sending: Sequence[Any]
    progress: threading.Semaphore
    began: float

    def results(self) -> int:
        """Masks in the PACS."""
        return len(names_in(self.pacs, "SEG"))


def service_killed(drill: Drill) -> None:
    """Eight senders store 200 series; ``service.dicom`` is killed twice, and started again."""
    with _clinic(drill, SERIES) as clinic:
        ready = []
        for _ in range(KILLS):
            for _ in range(SERIES // (KILLS + 1)):
                clinic.progress.acquire()
            killed = time.perf_counter()
            clinic.service.kill()
            clinic.service.start()
            ready.append(time.perf_counter() - killed)
        _judge(drill, clinic, kills=KILLS, receiving_again_s=max(ready))


def pacs_away(drill: Drill) -> None:
    """The PACS is stopped while results are sent to it, and comes back after a while."""
    with _clinic(drill, FEW, stops_pacs=True) as clinic:
        _judge(drill, clinic, away_s=AWAY_S)


def network_cut(drill: Drill) -> None:
    """The network between service and PACS breaks off in the middle of results, again and again."""
    with CuttingProxy(CUT_BYTES, CUTS) as proxy, _clinic(drill, FEW, proxy) as clinic:
        _judge(drill, clinic, proxy=proxy)


def _judge(drill: Drill, clinic: Clinic, proxy: CuttingProxy | None = None, **row: Any) -> None:
    begun = sum(each.result() for each in clinic.sending)
    sent_s = time.perf_counter() - clinic.began
    count = len(clinic.series)
    until(lambda: clinic.results() >= count, 600)
    seconds = time.perf_counter() - clinic.began
    time.sleep(QUIET_S)
    wrong = wrong_results(clinic.pacs, clinic.series)
    if proxy is not None:
        row["cuts"] = proxy.cuts
        drill.at_least("connections that were cut", proxy.cuts, CUTS)
    drill.saw(
        series=count,
        senders=SENDERS,
        begun_again=begun - count,
        sent_s=sent_s,
        all_results_s=seconds,
        results=clinic.results(),
        wrong=len(wrong),
        **row,
    )
    drill.at_most("series without exactly one result that names its instances", len(wrong), 0)
    drill.at_least("results", clinic.results(), count)
    drill.at_most("lines of errors", len(clinic.service.lines("error")), 0)


@contextmanager
def _clinic(
    drill: Drill, count: int, proxy: CuttingProxy | None = None, *, stops_pacs: bool = False
) -> Iterator[Clinic]:
    ours, theirs = free_port(), free_port()
    package = drill.folder / "volumes"
    write_package(package, PATCH, 1, 3)
    rules = drill.folder / "rules.yaml"
    rules.write_text("- destination: pacs\n")
    if proxy is not None:
        proxy.leads_to(theirs)
    reached = theirs if proxy is None else proxy.port
    settings = {
        "SEG_DICOM_RULES": str(rules),
        "SEG_DICOM_PEERS": f"pacs=ORTHANC@127.0.0.1:{reached},scanner=SCANNER@127.0.0.1:{ours}",
        "SEG_DICOM_BROKEN_S": "60",
        "SEG_DICOMWEB_RETRY_S": "600",
        "SEG_JOB_LEASE_S": "5",
        "SEG_MAX_JOBS": str(2 * count),
    }
    service = Receiving(drill.folder, package, ours, settings)
    series = [study(AFFINE) for _ in range(count)]
    progress = threading.Semaphore(0)
    service.start()
    try:
        with ThreadPoolExecutor(SENDERS) as senders:
            began = time.perf_counter()
            sending = [senders.submit(sent_until_taken, each, ours, progress) for each in series]
            if stops_pacs:
                with _pacs(drill.folder, theirs) as pacs:
                    until(lambda: len(names_in(pacs, "SEG")) >= count // 4, 300)
                time.sleep(AWAY_S)
            with _pacs(drill.folder, theirs) as pacs:
                yield Clinic(pacs, service, series, sending, progress, began)
    finally:
        service.stop()


def _pacs(folder: Path, port: int) -> Any:
    dicom = {"DicomServerEnabled": True, "DicomAet": "ORTHANC", "DicomPort": port}
    return orthanc(folder / "pacs", **dicom)


def training_ordered(drill: Drill) -> None:
    """A training as Slicer orders it runs to its end, and the better model answers."""
    recorded = ROOT / "tests" / "training" / "recorded" / "before_rooms"
    shutil.copytree(recorded / "package", drill.folder / "models" / "first")
    studies = shutil.copytree(recorded / "blobs", drill.folder / "studies")
    _draw_more(studies)
    settings = {
        "SEG_FRONTENDS": "monailabel",
        "SEG_MODELS": str(drill.folder / "models"),
        "SEG_STUDIES": str(studies),
        "SEG_SESSIONS": str(drill.folder / "sessions"),
        "SEG_TRAIN_MINUTES": "0.5",
    }
    with servers.seg(drill.folder / "models" / "first", **settings) as server:
        client = httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60)
        (model,) = client.get("/info/").json()["trainers"]
        began = time.perf_counter()
        client.post(f"/train/{model}", json={}).raise_for_status()
        until(lambda: client.get("/train/").json()["status"] != "RUNNING", 900)
        task = client.get("/train/").json()
        versions = len(client.get("/models").json()["models"][0]["versions"])
    said = task["details"][-1]
    drill.saw(status=task["status"], seconds=time.perf_counter() - began, said=said)
    drill.at_least("ended as it should", task["status"] == "DONE", 1)
    drill.at_least("versions are what it says", versions == 1 + ("answers now" in said), 1)


def _draw_more(studies: Path) -> None:
    """Images on which the recorded package has not learned."""
    rng = np.random.default_rng(0)
    for number in range(8):
        blobs = np.kron(rng.random((5, 6)) > 0.6, np.ones((8, 8), bool))
        grey = np.where(blobs, 160, 60) + rng.integers(-20, 20, blobs.shape)
        for folder, picture in (("images", grey), ("masks", blobs)):
            Image.fromarray(picture.astype(np.uint8)).save(studies / folder / f"more_{number}.png")
