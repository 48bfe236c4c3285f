import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

import seg.machine
from seg.machine import cores, tell_openmp


@pytest.mark.parametrize(
    ("quota", "expected"), [(None, 8), (0.5, 1), (1.0, 1), (2.5, 3), (64.0, 8)]
)
def test_cores_are_those_of_the_quota_at_most(monkeypatch, quota, expected):
    monkeypatch.setattr(seg.machine, "cpu_quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert cores() == expected


def test_threads_are_told_not_to_spin_for_long_unless_the_user_said_otherwise(monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    tell_openmp()
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setattr(seg.machine, "cpu_quota", lambda: 0.5)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    tell_openmp()
    assert os.environ["GOMP_SPINCOUNT"] == seg.machine.SPINS
    assert os.environ["OMP_NUM_THREADS"] == "1"


def test_a_training_tells_openmp_before_torch_is_loaded():
    script = (
        "import sys, os, training; "
        "assert 'torch' not in sys.modules; print(os.environ['GOMP_SPINCOUNT'])"
    )
    clean = {name: value for name, value in os.environ.items() if "OMP_" not in name}
    done = subprocess.run([sys.executable, "-c", script], env=clean, capture_output=True, text=True)
    assert done.stdout.strip() == seg.machine.SPINS, done.stderr


POOL = """
import multiprocessing, time
from concurrent.futures import ProcessPoolExecutor
from seg.machine import end_with_parent
if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), end_with_parent)
    pool.submit(int).result()
    print(*pool._processes, flush=True)
    time.sleep(60)
"""


def test_workers_of_a_pool_end_when_its_process_is_killed(tmp_path):
    (tmp_path / "pool.py").write_text(POOL)
    with subprocess.Popen(
        [sys.executable, tmp_path / "pool.py"], stdout=subprocess.PIPE, text=True
    ) as process:
        worker = int(process.stdout.readline())
        process.kill()
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if psutil.Process(worker).status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        time.sleep(0.05)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker is still there")
