"""Images that are fetched from addresses which the operator has listed.

A client that can name addresses could make the service ask machines that it cannot reach itself.
So hosts are listed one by one, and a name is resolved once, checked, and that address is asked.
"""

import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

import anyio
import httpcore

from seg.errors import ConfigError
from service.problems.response import Problem
from service.requests.numbers import whole_number

MOST_REDIRECTS = 3
CONNECT_S = 10.0
PORTS = {"https": 443, "http": 80}
NAT64 = ipaddress.ip_network("64:ff9b::/96")
REDIRECTS = frozenset({301, 302, 303, 307, 308})

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class AllowList:
    """Origins, each with the network where its address may lie; None stands for the internet."""

    networks: dict[Origin, Network | None] = field(default_factory=dict)

    @classmethod
    def parsed(cls, text: str) -> "AllowList":
        """``images.example,https://pacs.ward:8443=10.1.0.0/16,http://127.0.0.1:8042``.

        An entry without a scheme is https. A host that is an address may be asked there; a name
        may lie in the internet alone, or in the network behind ``=``.

        Raises:
            ConfigError: an entry is no origin.
        """
        networks: dict[Origin, Network | None] = {}
        for entry in filter(None, (part.strip() for part in text.split(","))):
            name, _, network = entry.partition("=")
            try:
                origin = _origin(name if "://" in name else f"https://{name}")
                if urlsplit(name if "://" in name else f"//{name}").path:
                    raise ValueError
                where = network or _literal(origin.host)
                networks[origin] = ipaddress.ip_network(where) if where else None
            except ValueError:
                raise ConfigError(
                    f"SEG_URL_ALLOW has {entry!r}; an entry is a host like images.example, "
                    "https://pacs.ward:8443=10.1.0.0/16 or http://127.0.0.1:8042"
                ) from None
        return cls(networks)

    def check(self, url: str) -> Origin:
        """The origin of an address.

        Raises:
            Problem: 422, it is not listed. The sentence does not repeat it: it may name a patient.
        """
        if not self.networks:
            raise Problem(422, "this service fetches no images; SEG_URL_ALLOW lists hosts")
        try:
            origin = _origin(url)
        except ValueError:
            raise Problem(422, "url is no address like https://HOST/PATH") from None
        if origin not in self.networks:
            raise Problem(422, "the host of url is not listed in SEG_URL_ALLOW")
        return origin


class UrlImages:
    """Fetches images."""

    def __init__(self, allowed: AllowList, idle_s: float, context: ssl.SSLContext | None = None):
        """Fetch from these hosts.

        Args:
            allowed: them.
            idle_s: seconds that a download may stand still.
            context: of TLS; None trusts the authorities of this machine, or of SSL_CERT_FILE.
        """
        self.allowed = allowed
        self._idle_s = idle_s
        if allowed.networks and context is None:
            context = ssl.create_default_context()
        self._context = context

    async def fetch(
        self,
        url: str,
        target: IO[bytes],
        most_bytes: int,
        reserve: Callable[[int], None],
        headers: Headers = (),
        *,
        seconds: float,
    ) -> int:
        """Write what lies at an address; its size.

        Args:
            url: of a listed host.
            target: to write to.
            most_bytes: beyond which the rest is not read.
            reserve: is told of bytes before they are written.
            headers: for its host alone; another one, to which it redirects, gets none.
            seconds: that all of it may take.

        Raises:
            Problem: 413, it is too large; 422, it is not listed; 502 and 504, it was not to be had.
        """
        first = self.allowed.check(url)
        until = anyio.current_time() + seconds
        for _ in range(MOST_REDIRECTS + 1):
            origin = self.allowed.check(url)
            own = headers if origin == first else ()
            try:
                with anyio.fail_after(until - anyio.current_time()):
                    found = await self._ask(origin, url, target, most_bytes, reserve, own)
            except (httpcore.TimeoutException, TimeoutError):
                raise Problem(504, "the address of an image did not answer in time") from None
            except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError):
                raise Problem(502, "the address of an image cannot be reached") from None
            if isinstance(found, int):
                return found
            url = urljoin(url, found)
        raise Problem(502, f"the address of an image redirects more than {MOST_REDIRECTS} times")

    async def _ask(
        self,
        origin: Origin,
        url: str,
        target: IO[bytes],
        most_bytes: int,
        reserve: Callable[[int], None],
        more_headers: Headers,
    ) -> int | str:
        """Bytes written, or where it is instead."""
        address = await _address_of(origin, self.allowed.networks[origin])
        times = {"connect": CONNECT_S, "read": self._idle_s, "write": self._idle_s, "pool": 1}
        async with httpcore.AsyncConnectionPool(
            ssl_context=self._context, network_backend=_Pinned(address)
        ) as pool:
            headers = [("Accept-Encoding", "identity"), ("User-Agent", "seg"), *more_headers]
            async with pool.stream(
                "GET", _without_fragment(url), headers=headers, extensions={"timeout": times}
            ) as answer:
                told = {name.lower(): value for name, value in answer.headers}
                if answer.status in REDIRECTS and b"location" in told:
                    return told[b"location"].decode("ascii", "replace")
                if answer.status != 200:
                    raise Problem(502, f"the address of an image answered {answer.status}")
                length = whole_number(told.get(b"content-length", b"").decode("latin-1"))
                if length is not None and length > most_bytes:
                    raise _too_large()
                size = 0
                async for chunk in answer.aiter_stream():
                    size += len(chunk)
                    if size > most_bytes:
                        raise _too_large()
                    reserve(len(chunk))
                    target.write(chunk)
                return size


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to one address; another look for the name might find another one.

    TLS still asks for the name's certificate.
    """

    def __init__(self, address: Address) -> None:
        self._address = str(address)
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return await self._inner.connect_tcp(
            self._address, port, timeout, local_address, socket_options
        )

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


async def _address_of(origin: Origin, network: Network | None) -> Address:
    """The address that is asked: resolved once.

    Raises:
        Problem: 422, the name stands for an address where the service must not ask.
    """
    found = await anyio.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    addresses: Sequence[Address] = [_plain(ipaddress.ip_address(each[4][0])) for each in found]
    for address in addresses:
        is_listed = address in network if network else _is_public(address)
        if not is_listed:
            raise Problem(
                422,
                "the host of url has an address of a private network; "
                "SEG_URL_ALLOW can name it: HOST=NETWORK",
            )
    return addresses[0]


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        carries_another = address.sixtofour or address.teredo or address in NAT64
        if carries_another:
            return False
    return address.is_global and not address.is_multicast


def _plain(address: Address) -> Address:
    return getattr(address, "ipv4_mapped", None) or address


def _literal(host: str) -> str | None:
    try:
        return str(_plain(ipaddress.ip_address(host)))
    except ValueError:
        return None


def _origin(url: str) -> Origin:
    """Scheme, host and port.

    Raises:
        ValueError: it is no address of the web, or has a name and a password in it.
    """
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname or "@" in parts.netloc:
        raise ValueError
    if not url.isascii() or any(letter.isspace() or ord(letter) < 32 for letter in url):
        raise ValueError
    return Origin(parts.scheme, parts.hostname.rstrip("."), parts.port or PORTS[parts.scheme])


def _without_fragment(url: str) -> str:
    return url.partition("#")[0]


def _too_large() -> Problem:
    return Problem(413, "the image at url has more bytes than a request may have")
