import errno

import pytest

from seg.commands import exit_status
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
