"""``python -m service.dicom`` as a process of its own."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.service.conftest import ROOT, until

pytest.importorskip("pynetdicom", reason="no pynetdicom here: pip install pynetdicom")


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


@pytest.fixture(scope="session")
def receiving(tiny_package_3d):
    @contextmanager
    def start(folder, port, rules=None, **settings):
        folder.mkdir(exist_ok=True)
        if rules is not None:
            (folder / "rules.yaml").write_text(rules)
            settings["SEG_DICOM_RULES"] = str(folder / "rules.yaml")
        process = Receiving(folder, tiny_package_3d, port, settings)
        process.start()
        try:
            yield process
        finally:
            process.stop()

    return start
