"""``python -m service.dicom`` as a process of its own, and senders who do what a scanner does."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pydicom
import pynetdicom

from tests.orthanc import instances_in
from tests.service.conftest import ROOT, until


class Receiving:
    """The process, that may be killed and started again."""

    def __init__(self, folder, package, port, settings):
        self.port = port
        self.log = folder / "log.txt"
        self.environment = {
            **os.environ,
            "SEG_PACKAGE": str(package),
            "SEG_PROVIDER": "cpu",
            "SEG_JOBS_FILES": str(folder / "jobs"),
            "SEG_DICOM_SPOOL": str(folder / "received"),
            "SEG_DICOM_PORT": str(port),
            **settings,
        }
        self.process = None

    def start(self):
        before = self.lines("receiving")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service.dicom"],
                env=self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(lambda: len(self.lines("receiving")) > len(before) or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.terminate()
        return self.process.wait(60)

    def lines(self, event):
        text = self.log.read_text() if self.log.exists() else ""
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]


def sent_until_taken(slices, port, progress):
    """Send a series, all of it again where it broke off; how many times it was begun."""
    entity = pynetdicom.AE("SCANNER")
    entity.add_requested_context(slices[0].SOPClassUID, slices[0].file_meta.TransferSyntaxUID)
    times = 0
    while True:
        association = entity.associate("127.0.0.1", port, ae_title="SEG")
        try:
            if association.is_established:
                times += 1
                if all(_is_stored(association, one) for one in slices):
                    association.release()
                    progress.release()
                    return times
        except (RuntimeError, OSError):  # it broke off
            pass
        time.sleep(0.3)


def _is_stored(association, one):
    time.sleep(0.01)  # a scanner is slower than a loop
    return getattr(association.send_c_store(one), "Status", None) == 0


def wrong_results(pacs, series):
    """What a PACS has of masks of series that is not one for each, with its instances named."""
    results, wrong = Counter(), []
    wanted = {
        str(slices[0].SeriesInstanceUID): {str(each.SOPInstanceUID) for each in slices}
        for slices in series
    }
    for content in instances_in(pacs, "SEG"):
        mask = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
        (reference,) = mask.ReferencedSeriesSequence
        uid = str(reference.SeriesInstanceUID)
        results[uid] += 1
        named = {str(r.ReferencedSOPInstanceUID) for r in reference.ReferencedInstanceSequence}
        if named != wanted.get(uid):
            wrong.append(f"a mask names {len(named)} instances that are not those of its series")
    wrong += [f"a series has {results[uid]} masks" for uid in wanted if results[uid] != 1]
    return wrong
