"""What a process learns of its own sockets."""

import os
import socket
from pathlib import Path

import pytest

from service.hosting.listening import listens_beyond_loopback


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux's list of descriptors")
def test_looking_at_the_descriptors_keeps_none_of_them():
    # a copy of the pipe that tells subprocess of its child's start would let it wait for ever
    with socket.create_server(("127.0.0.1", 0)):
        reading, writing = os.pipe()
        listens_beyond_loopback()
        os.close(writing)
        os.set_blocking(reading, False)
        assert os.read(reading, 1) == b"", "no end for writing is left"
        os.close(reading)


def test_a_socket_on_all_addresses_is_seen():
    assert not listens_beyond_loopback()
    with socket.create_server(("0.0.0.0", 0)):
        assert listens_beyond_loopback()
