"""Folders that killed services leave."""

import os
import subprocess
import sys
import tempfile

from service.sharing.scratch import LOCK, PREFIX, YOUNG_S, remove_abandoned, scratch_folder

HOLDS = (
    "import time; from service.sharing.scratch import scratch_folder; "
    "folder = scratch_folder(); print(folder.name, flush=True); time.sleep(60)"
)


def aged(folder, seconds=2 * YOUNG_S):
    then = folder.stat().st_mtime - seconds
    os.utime(folder, (then, then))


def test_the_folder_of_a_killed_process_goes_and_that_of_a_living_one_stays(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", HOLDS]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        (folder,) = tmp_path.glob(f"{PREFIX}*")
        assert str(folder) == name
        aged(folder)
        remove_abandoned(tmp_path)
        assert folder.exists()
        process.kill()
    remove_abandoned(tmp_path)
    assert not folder.exists()


def test_what_is_new_or_of_others_is_let_be(tmp_path):
    new, unlocked, other = (tmp_path / name for name in (f"{PREFIX}a", f"{PREFIX}b", "other"))
    for folder in (new, unlocked, other):
        folder.mkdir()
    for folder in (new, other):
        (folder / LOCK).touch()
    link = tmp_path / f"{PREFIX}c"
    link.symlink_to(other)
    for folder in (unlocked, other):
        aged(folder)
    remove_abandoned(tmp_path)
    assert all(each.exists() for each in (new, unlocked, other, link))


def test_a_folder_that_is_let_go_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch_folder("metrics-"):
        assert list(tmp_path.glob(f"{PREFIX}metrics-*/{LOCK}"))
    assert not list(tmp_path.iterdir())
