import errno
import fcntl
import subprocess
import sys

import pytest

from seg.errors import ConfigError
from training.run.lock import LOCK, holds_files, taken

HOLDER = """
import sys, time
from pathlib import Path
from training.run.lock import taken
with taken(Path(sys.argv[1])):
    print("taken", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def held(tmp_path):
    """A folder that another process holds."""
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, folder], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "taken\n"
    yield folder, process
    process.kill()
    process.wait()


def test_a_folder_that_another_training_writes_to_is_refused(held):
    folder, _ = held
    with pytest.raises(ConfigError, match="another training is writing to"), taken(folder):
        pytest.fail("both hold it")


def test_the_folder_of_a_killed_training_is_free(held):
    folder, process = held
    process.kill()
    process.wait()
    with taken(folder, wait_s=5.0):
        pass


def test_a_folder_in_which_nothing_was_written_is_not_left_behind(tmp_path):
    with taken(tmp_path / "a" / "run"):
        assert not holds_files(tmp_path / "a" / "run")
    assert not (tmp_path / "a" / "run").exists()


def test_what_was_written_stays(tmp_path):
    with taken(tmp_path / "run"):
        (tmp_path / "run" / "plan.yaml").write_text("x")
        assert holds_files(tmp_path / "run")
    assert (tmp_path / "run" / "plan.yaml").is_file()
    assert (tmp_path / "run" / LOCK).is_file()


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_that_knows_no_locks_is_refused(code, tmp_path, monkeypatch):
    def without_locks(_file, _operation):
        raise OSError(code, "of a disk over a network")

    monkeypatch.setattr(fcntl, "flock", without_locks)
    with pytest.raises(ConfigError, match="knows no locks"), taken(tmp_path / "run"):
        pytest.fail("a file in the place of a lock would stay when the machine dies")
