import argparse
import errno
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from seg.commands import exit_status, path_named
from seg.errors import ConfigError


def raising(error):
    def command():
        raise error

    return command


def noted(error):
    error.add_note("go on with: --resume runs/a")
    return error


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        pytest.param(ConfigError("a patch needs 2 axes"), 2, "error: a patch needs 2 axes"),
        pytest.param(
            OSError(errno.ENOSPC, "No space left on device", "runs/a/checkpoint.ckpt"),
            2,
            "error: runs/a/checkpoint.ckpt: No space left on device",
        ),
        pytest.param(
            OSError("11696 requested and 10208 written"),
            2,
            "error: a file: No space left on device",
        ),
        pytest.param(OSError("no codec"), 2, "error: a file: no codec"),
        pytest.param(
            IsADirectoryError(errno.EISDIR, "Is a directory", ".a.x1y2", None, "a"),
            2,
            "error: a: Is a directory",
        ),
        pytest.param(
            MemoryError("Unable to allocate 8 EiB"),
            2,
            "error: the memory is too small: Unable to allocate 8 EiB",
        ),
        pytest.param(KeyboardInterrupt(), 130, "stopped"),
        pytest.param(noted(KeyboardInterrupt()), 130, "stopped; go on with: --resume runs/a"),
        pytest.param(noted(ConfigError("no")), 2, "error: no; go on with: --resume runs/a"),
    ],
)
def test_what_a_user_can_repair_ends_in_one_sentence(error, status, sentence, capsys):
    assert exit_status(raising(error)) == status
    assert capsys.readouterr().err == sentence + "\n"


def test_a_bug_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        exit_status(raising(ZeroDivisionError()))


@pytest.mark.parametrize(("text", "words"), [("", "an empty name"), ("b\udcff", "is not UTF-8")])
def test_a_name_that_is_empty_or_no_text_is_refused_before_any_work(text, words):
    with pytest.raises(argparse.ArgumentTypeError, match=words):
        path_named(text)
    assert path_named("a b") == Path("a b")


def test_every_command_reads_its_paths_so():
    root = Path(__file__).parents[2]
    files = [file for room in ("seg", "training", "data") for file in (root / room).rglob("*.py")]
    plain = [file.name for file in files if re.search(r"\btype=Path\b", file.read_text())]
    assert not plain


def test_sigterm_stops_a_command_as_ctrl_c_does_but_a_server_in_its_own_way(tmp_path):
    code = """if True:
        import os, signal, sys
        from seg.commands import exit_status
        def work():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
            finally:
                open(sys.argv[1], "w").close()
        sys.exit(exit_status(work, serves=len(sys.argv) > 2))
    """
    for number, (status, further) in enumerate([(130, ()), (-signal.SIGTERM, ("serves",))]):
        cleaned = tmp_path / str(number)
        done = subprocess.run(
            [sys.executable, "-c", code, str(cleaned), *further], cwd=Path(__file__).parents[2]
        )
        assert done.returncode == status
        assert cleaned.exists() == (status == 130)
