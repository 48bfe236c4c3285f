"""What somebody takes who is not known yet."""

import socket

import pynetdicom
import pytest
from pynetdicom import evt

from service.frontends.dimse.bounded import MOST_PDU, MOST_STRANGERS, bound_reading, has_place


@pytest.mark.parametrize(
    ("address", "open_from", "has"),
    [
        ("peer", ["stranger"] * MOST_STRANGERS, True),
        ("peer", ["peer"] * 9, True),
        ("peer", ["peer"] * 10, False),
        ("stranger", ["peer"] * 5, True),
        ("stranger", ["other"] * MOST_STRANGERS, False),
    ],
)
def test_strangers_have_a_few_connections_and_peers_the_others(address, open_from, has):
    assert has_place(address, open_from, 5, lambda each: each == "peer") is has


@pytest.mark.parametrize(("length", "is_read"), [(MOST_PDU, True), (2**31, False)])
def test_a_piece_of_gigabytes_ends_its_connection_at_once(monkeypatch, length, is_read):
    monkeypatch.setattr(
        pynetdicom.transport.AssociationSocket, "recv", pynetdicom.transport.AssociationSocket.recv
    )  # is put back
    bound_reading(pynetdicom)
    entity = pynetdicom.AE("SEG")
    entity.add_supported_context("1.2.840.10008.1.1")
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_ECHO, id)])
    try:
        with socket.create_connection(server.server_address, 10) as connection:
            connection.sendall(b"\x01\x00" + length.to_bytes(4, "big"))
            connection.settimeout(0.5)
            if is_read:
                with pytest.raises(TimeoutError):
                    connection.recv(1)
            else:
                assert connection.recv(1) == b""
    finally:
        server.shutdown()
