"""Tests in forks of one process that has all libraries loaded: seconds less for each run.

    python benchmarks/forked_tests.py serve SOCKET TESTS     # loads what these tests load
    python benchmarks/forked_tests.py ask SOCKET TESTS       # exit status as of pytest

Only libraries are loaded beforehand; code and tests of the working folder are read anew in each
fork.
"""

import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

LONGEST_S = 300
"""A fork that runs longer is ended."""
FAILED = 1


def serve(address: str, tests: Sequence[str]) -> None:
    """Answer until it is ended."""
    for name in _libraries_of(tests):
        with contextlib.suppress(Exception):  # some are optional parts of others
            importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        while True:
            asking, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                _answer(asking)
            asking.close()


def _libraries_of(tests: Sequence[str]) -> list[str]:
    """Names of the modules that these tests import from installed packages."""
    read, write = os.pipe()
    if os.fork() == 0:
        _pytest(["--collect-only", *tests])
        installed = sysconfig.get_path("purelib")
        names = [
            name
            for name, module in sys.modules.copy().items()
            if str(getattr(module, "__file__", None) or "").startswith(installed)
        ]
        with os.fdopen(write, "w") as file:
            json.dump(names, file)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        return list(json.load(file))


def _answer(asking: socket.socket) -> None:
    """Run the tests that are asked for, and end the process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.alarm(LONGEST_S)
    status = FAILED
    try:
        with asking.makefile("rw") as file:
            status = _pytest(json.loads(file.readline()))
            file.write(f"{status}\n")
    finally:
        os._exit(status)


def _pytest(arguments: Sequence[str]) -> int:
    import pytest

    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        return int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *arguments]))


def ask(address: str, tests: Sequence[str]) -> int:
    """The status of a fork; one that died of a signal has failed."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(address)
        with asking.makefile("rw") as file:
            file.write(json.dumps(list(tests)) + "\n")
            file.flush()
            return int(file.readline() or FAILED)


if __name__ == "__main__":
    verb, place, *paths = sys.argv[1:]
    if verb == "serve":
        serve(place, paths)
    sys.exit(ask(place, paths))
