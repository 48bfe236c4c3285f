import signal
import subprocess
import sys
import threading

from service.hosting import ending
from service.hosting.ending import Ending
from tests.service.conftest import ROOT, until

STUCK = """
import re
from service.hosting import ending
ending.END_S = 0.5
ending.Ending(print).begin()
re.match("(a*)*b", "a" * 60)  # holds the interpreter for ages
"""


def test_a_process_ends_though_something_holds_the_interpreter():
    done = subprocess.run([sys.executable, "-c", STUCK], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == -signal.SIGALRM


FOLLOWING = """
import os, signal, time
from service.hosting import ending
ending.END_S = 0.5
signal.signal(signal.SIGTERM, lambda *_: print("the server's own", flush=True))
ending.Ending(print).begin_by(signal.SIGTERM)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(60)  # it waits for a request that hangs
"""


def test_a_process_that_is_asked_to_end_does_though_its_server_waits_for_ever():
    done = subprocess.run(
        [sys.executable, "-c", FOLLOWING], cwd=ROOT, timeout=60, check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGALRM
    assert done.stdout == b"the server's own\n"


DYING = """
import signal, time
from service.hosting import ending
ending.HOPELESS_S = 0.5
signal.signal(signal.SIGTERM, lambda *_: print("the server's own", flush=True))
ending.Ending(print).begin_because(lambda: "its device has died")
time.sleep(60)  # on a device that computes no more
"""


def test_a_process_whose_device_has_died_ends_so_that_its_supervisor_starts_another():
    done = subprocess.run(
        [sys.executable, "-c", DYING], cwd=ROOT, timeout=60, check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGALRM
    assert done.stdout.count(b"the server's own\n") == 1


def test_what_runs_is_cancelled_when_it_has_had_its_time(monkeypatch):
    monkeypatch.setattr(ending, "FINISH_S", 0.05)
    cancelled = threading.Event()
    begun = Ending(cancelled.set)
    try:
        begun.begin()
        begun.begin()
        until(cancelled.is_set)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > ending.END_S / 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
