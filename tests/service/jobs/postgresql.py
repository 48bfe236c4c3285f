"""A PostgreSQL of its own, where Debian's is installed."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest


@contextmanager
def running_postgresql(certificate: Path | None = None) -> Iterator[int]:
    """Its port on 127.0.0.1; a certificate, its key beside it, switches TLS on."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    # It refuses to be run by root.
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="seg-postgresql-") as folder:
        data, owned = f"{folder}/data", [folder]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories= -p {port}"
        if certificate:
            options += " -c ssl=on"
            for name, source in (("cert", certificate), ("key", certificate.with_suffix(".key"))):
                owned.append(shutil.copyfile(source, f"{folder}/{name}"))
                Path(owned[-1]).chmod(0o600)
                options += f" -c ssl_{name}_file={owned[-1]}"
        for path in owned if user else ():
            shutil.chown(path, "postgres")
        run = partial(subprocess.run, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        run([*user, programs[-1] / "initdb", "-D", data, "-A", "trust", "-U", "seg"])
        control = [*user, programs[-1] / "pg_ctl", "-D", data, "-w", "-l", f"{folder}/log"]
        run([*control, "-o", options, "start"])
        try:
            yield port
        finally:
            run([*control, "-m", "immediate", "stop"])
