"""A network that breaks off: a proxy of TCP that resets connections in their middle."""

import socket
import struct
import threading
from contextlib import suppress

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes close() a reset, as a cable that is pulled ends in."""


class CuttingProxy:
    """Passes bytes on, and cuts a connection that has carried so many to the server."""

    def __init__(self, after_bytes: int, cuts: int) -> None:
        """Cut each of the first ``cuts`` connections that carry more than ``after_bytes``."""
        self._after, self._left = after_bytes, cuts
        self.cuts = 0
        self._target = 0
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def leads_to(self, port: int) -> None:
        """Where bytes go, on this machine."""
        self._target = port

    def __enter__(self) -> "CuttingProxy":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take no more connections."""
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._target), 10)
                except OSError:
                    client.close()
                    continue
                for pair, is_cut in (((client, server), True), ((server, client), False)):
                    threading.Thread(
                        target=self._pass_on, args=(*pair, is_cut), daemon=True
                    ).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, is_cut: bool) -> None:
        carried = 0
        with suppress(OSError):
            while content := source.recv(4096):
                carried += len(content)
                if is_cut and carried > self._after and self._may_cut():
                    for each in (source, target):
                        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    break
                target.sendall(content)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _may_cut(self) -> bool:
        with self._lock:
            if self.cuts >= self._left:
                return False
            self.cuts += 1
            return True
