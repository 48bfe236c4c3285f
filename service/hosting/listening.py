"""On which addresses this process takes connections."""

import ipaddress
import os
import socket
from contextlib import suppress
from functools import lru_cache
from pathlib import Path


@lru_cache
def is_loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def listens_beyond_loopback() -> bool:
    """Whether a socket of this process takes connections from other machines.

    BentoML hands its processes the socket as a descriptor and does not say where it is bound, so
    the descriptors are asked themselves.
    """
    return any(not is_loopback(host) for host in _listening_hosts())


def _listening_hosts() -> list[str]:
    hosts = []
    folder = Path("/dev/fd")
    for entry in list(folder.iterdir()) if folder.is_dir() else ():
        with suppress(OSError), _socket_of(int(entry.name)) as held:
            is_of_a_network = held.family in (socket.AF_INET, socket.AF_INET6)
            if is_of_a_network and held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                hosts.append(str(held.getsockname()[0]))
    return hosts


def _socket_of(descriptor: int) -> socket.socket:
    """A copy of what a descriptor is, if it is a socket.

    Of what is none no copy stays: that of a pipe by which another thread learns that the program
    it starts has begun would let that thread wait for ever.

    Raises:
        OSError: it is none, or has been closed.
    """
    copy = os.dup(descriptor)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise
