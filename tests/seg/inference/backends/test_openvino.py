"""OpenVINO beside what else a process does."""

import subprocess
import sys

from tests.packages import write_package

ANOTHER_THREAD_LETS_GO = """
import signal, subprocess, sys, threading
from pathlib import Path

from seg.inference.backends.openvino import OpenVinoBackend

held = [OpenVinoBackend(Path(sys.argv[1]), threads=1)]
last = threading.Thread(target=held.clear)
last.start()
last.join()
signal.signal(signal.SIGCHLD, lambda *_: None)
subprocess.run([sys.executable, "-c", ""])
print("alive")
"""


def test_a_child_may_end_after_another_thread_let_the_last_model_go(tmp_path):
    package = write_package(tmp_path / "package")
    script = [sys.executable, "-c", ANOTHER_THREAD_LETS_GO, str(package / "network.onnx")]
    run = subprocess.run(script, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "alive\n"), run.stderr
