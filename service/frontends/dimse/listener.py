"""The one who is called: C-ECHO and C-STORE as a service class provider (DICOM PS3.7, PS3.8)."""

import socket
import ssl
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from seg.errors import ConfigError, ImageError
from service.archives.peers import Peer, Peers, pynetdicom
from service.errors import DecodingFullError, SchedulerClosedError
from service.frontends.dimse.bounded import bound_reading, has_place
from service.frontends.dimse.receiver import Receiver
from service.frontends.dimse.spool import SpoolFullError
from service.hosting.listening import is_loopback
from service.observability.logs import LOGGER, where_it_failed
from service.settings import Settings

SUCCESS, NOT_AUTHORISED, CANNOT_UNDERSTAND, NO_ROOM, FAILED = 0x0000, 0x0124, 0xC000, 0xA700, 0x0110
"""Statuses. Source: DICOM PS3.7, annex C, and PS3.4, table B.2-1."""
COMMENTS = {
    NOT_AUTHORISED: "this title may not send from this address",
    CANNOT_UNDERSTAND: "no whole DICOM file, or a UID missing or that of another image",
    NO_ROOM: "there is no room now; send it again later",
    FAILED: "the service failed; its log says where",
}
"""What a sender may show or log beside the status; 64 letters at most."""
MOST_ASSOCIATIONS = 32
IDLE_S = 60.0
"""Seconds after which an association on which nothing moves is ended."""
HANDSHAKE_S = 10.0


class DicomListener:
    """Listens for associations."""

    def __init__(self, settings: Settings, peers: Peers, receiver: Receiver) -> None:
        """Be ready to listen.

        Raises:
            ConfigError: nobody who may call is listed, or pynetdicom is not installed.
        """
        self._settings, self._peers, self._receiver = settings, peers, receiver
        if not peers.by_name and not is_loopback(settings.dicom_host):
            raise ConfigError(
                f"SEG_DICOM_HOST={settings.dicom_host} is reached from other machines: "
                "SEG_DICOM_PEERS lists those that may call, as pacs=ORTHANC@pacs.example:4242"
            )
        self._library = pynetdicom()
        self._tls = _server_tls(peers)
        self._server: Any = None

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        library = self._library
        library._config.STORE_RECV_CHUNKED_DATASET = True  # to disk, whatever an instance's size
        bound_reading(library)
        entity = library.AE(self._settings.dicom_title)
        entity.maximum_associations = MOST_ASSOCIATIONS
        entity.require_called_aet = True
        entity.require_calling_aet = sorted({p.title for p in self._peers.by_name.values()})
        entity.dimse_timeout = entity.network_timeout = IDLE_S
        entity.acse_timeout = HANDSHAKE_S
        entity.add_supported_context(library.sop_class.Verification)
        for context in library.AllStoragePresentationContexts:
            entity.add_supported_context(context.abstract_syntax, library.ALL_TRANSFER_SYNTAXES)
        events = library.evt
        self._server = entity.start_server(
            (self._settings.dicom_host, self._settings.dicom_port),
            block=False,
            ssl_context=self._tls,
            evt_handlers=[
                (events.EVT_C_ECHO, self._guarded(lambda *_: SUCCESS)),
                (events.EVT_C_STORE, self._guarded(self._store)),
                (events.EVT_RELEASED, self._ended, [True]),
                (events.EVT_ABORTED, self._ended, [False]),
                (events.EVT_CONN_CLOSE, self._ended, [False]),
            ],
        )

        self._server.verify_request = self._has_place

    def _has_place(self, _: Any, address: tuple[Any, ...]) -> bool:
        """Asked for each connection before a thread is started for it."""
        open_from = [each.requestor.address for each in self._server.active_associations]
        is_peer = cache(self._peers.is_at) if self._peers.by_name else lambda _: True
        return has_place(str(address[0]), open_from, MOST_ASSOCIATIONS, is_peer)

    def close(self) -> None:
        """Listen no more; associations that are open break off."""
        if self._server is not None:
            self._server.ae.shutdown()

    def _guarded(self, answer: Callable[[Any, Peer | None], int]) -> Callable[[Any], Any]:
        """Asked by somebody who may; the answer has a sentence where it is no success."""

        def guarded(event: Any) -> Any:
            status = answered(event)
            return status if status == SUCCESS else _with_comment(status)

        def answered(event: Any) -> int:
            caller = event.assoc.requestor
            sender = self._peers.calling(caller.ae_title, caller.address)
            if sender is None and self._peers.by_name:
                LOGGER.warning("peer refused", extra={"fields": {"reason": "address"}})
                return NOT_AUTHORISED
            return answer(event, sender)

        return guarded

    def _store(self, event: Any, sender: Peer | None) -> int:
        path: Path = event.dataset_path
        try:
            self._receiver.keep(path, id(event.assoc), sender)
        except ImageError:
            return CANNOT_UNDERSTAND
        except (SpoolFullError, DecodingFullError, SchedulerClosedError, OSError) as error:
            LOGGER.error("instance refused", extra={"fields": where_it_failed(error)})
            return NO_ROOM
        except Exception as error:  # the library would log it with what was sent
            LOGGER.error("error", extra={"fields": where_it_failed(error)})
            return FAILED
        finally:
            path.unlink(missing_ok=True)
        return SUCCESS

    def _ended(self, event: Any, released: bool) -> None:
        self._receiver.ended(id(event.assoc), released=released)


def _with_comment(status: int) -> Any:
    """A status as the library sends it, and why."""
    from pydicom.dataset import Dataset

    told = Dataset()
    told.Status, told.ErrorComment = status, COMMENTS[status]
    return told


class _LateHandshake(ssl.SSLContext):
    """Shakes hands when the first bytes are read, in the caller's own thread.

    While it is accepted, one who says nothing would keep all others waiting.
    """

    def wrap_socket(  # type: ignore[override]  # all that the library passes
        self,
        sock: socket.socket,
        server_side: bool = False,
        **_: Any,
    ) -> ssl.SSLSocket:
        sock.settimeout(HANDSHAKE_S)
        return super().wrap_socket(sock, server_side, do_handshake_on_connect=False)


def _server_tls(peers: Peers) -> ssl.SSLContext | None:
    """TLS 1.2 or newer; whoever calls shows a certificate, where authorities are named."""
    if peers.tls_file is None:
        return None
    credentials = peers.credentials
    if credentials.certificate is None:
        raise ConfigError("SEG_DICOM_TLS_FILE names no certificate, by which callers know us")
    try:
        context = _LateHandshake(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(credentials.certificate, credentials.key, lambda: "")
        if credentials.authorities is not None:
            context.load_verify_locations(credentials.authorities)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the files that SEG_DICOM_TLS_FILE names cannot be used ({type(error).__name__})"
        ) from None
    return context
