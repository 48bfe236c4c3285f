"""A client of DICOMweb: QIDO-RS finds, WADO-RS fetches, STOW-RS stores (DICOM PS3.18).

Nothing is followed that an archive names: no redirect, no retrieve URL. No message repeats an
address, a UID or what an archive answered.
"""

import json
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from seg.dicomweb.addresses import check_root
from seg.dicomweb.credentials import Credentials
from seg.dicomweb.instances import InstancesZip
from seg.dicomweb.multipart import MultipartBody, MultipartReader, boundary_of
from seg.dicomweb.needed import needed
from seg.dicomweb.open_files import Readable, Rewindable
from seg.errors import ArchiveAwayError, ArchiveError, NotInArchiveError

STUDY, SERIES, INSTANCES, MODALITY = "0020000D", "0020000E", "00201209", "00080060"
STORED, FAILED, INSTANCE, REASON = "00081199", "00081198", "00081155", "00081197"
"""Attributes of answers, as tags."""

CONNECT_S, IDLE_S = 10.0, 120.0
"""An archive may have to fetch from tape what it sends."""
MOST_ANSWER = 16 << 20
"""Bytes of an answer that is no image."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be others later."""
NO_SPACE = 0xA700
ALL_INSTANCES = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""As they are stored: to decode them is our part."""
DICOM_JSON = "application/dicom+json"


@dataclass(frozen=True, slots=True)
class FoundSeriesFacts:
    """What an archive says of a series."""

    study: str
    series: str
    modality: str
    instances: int | None
    """None where it does not say."""


class Archive:
    """An archive that is asked by DICOMweb; usable from one thread at a time."""

    def __init__(
        self, root: str, credentials: Credentials | None = None, name: str = "the archive"
    ) -> None:
        """Be ready to ask.

        Args:
            root: of its DICOMweb, such as ``https://pacs.example/dicom-web``.
            credentials: who asks.
            name: by which messages call it.

        Raises:
            ConfigError: the address is none, or the credentials cannot be used.
        """
        check_root(root)
        self._root, self._name = root.rstrip("/"), name
        self._httpx = needed("httpx")
        credentials = credentials or Credentials()
        headers = {"Accept-Encoding": "identity", "User-Agent": "seg"}
        if credentials.header:
            headers["Authorization"] = credentials.header
        self._client = self._httpx.Client(
            headers=headers,
            verify=credentials.tls() if root.lower().startswith("https:") else False,
            timeout=self._httpx.Timeout(IDLE_S, connect=CONNECT_S),
            follow_redirects=False,
            trust_env=False,  # no proxy and no .netrc that somebody else set
        )

    def __enter__(self) -> "Archive":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        self._client.close()

    def series(self, study: str | None, series: str | None = None) -> list[FoundSeriesFacts]:
        """Series of a study, or the ones of that name.

        Raises:
            ArchiveError: it does not say.
            NotInArchiveError: there is none.
        """
        path = f"/studies/{study}/series" if study else "/series"
        query = {"SeriesInstanceUID": series} if series else {}
        with self._asked("GET", path, params=query, headers={"Accept": DICOM_JSON}) as answer:
            entries = [] if answer.status_code == 204 else self._json(answer)
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            raise self._rubbish("no list of series")
        found = [_facts(each, study, series) for each in entries]
        if not found:
            what = "series" if series else "study"
            raise NotInArchiveError(f"{self._name} has no such {what}")
        if series and len({each.study for each in found}) > 1:
            raise ArchiveError(f"{self._name} has this series in several studies; name the study")
        if series and any(each.series != series for each in found):
            raise self._rubbish("another series than it was asked for")
        return found

    def retrieve(
        self,
        facts: FoundSeriesFacts,
        target: Rewindable,
        most_bytes: int,
        on_bytes: Callable[[int], None] = lambda n: None,
    ) -> int:
        """Write the instances of a series into a ZIP file as they come; how many there are.

        Args:
            facts: of ``series``.
            target: an empty file.
            most_bytes: of all instances.
            on_bytes: is told how many more came; what it raises ends the transfer.

        Raises:
            ArchiveError: it does not give them all.
            ImageTooLargeError: they are more bytes than that.
        """
        path = f"/studies/{facts.study}/series/{facts.series}"
        with self._asked("GET", path, headers={"Accept": ALL_INSTANCES}) as answer:
            boundary = boundary_of(answer.headers.get("content-type", ""))
            if boundary is None:
                raise self._rubbish("no multipart/related of instances")
            instances = InstancesZip(target, most_bytes, on_bytes)
            try:
                self._read(answer, MultipartReader(boundary, instances))
            finally:
                instances.close()
        if facts.instances is not None and instances.count < facts.instances:
            raise ArchiveAwayError(
                f"{self._name} sent {instances.count} of the {facts.instances} instances that it "
                "says the series has"
            )
        return instances.count

    def store(self, files: Sequence[tuple[Readable, int]], study: str | None = None) -> list[str]:
        """Store instances; the SOPInstanceUIDs of those that it says it has stored.

        Args:
            files: each a file of DICOM at its start, and its bytes.
            study: to which all of them belong.

        Raises:
            ArchiveError: it has not stored them all.
        """
        body = MultipartBody(files)
        headers = {
            "Content-Type": body.content_type,
            "Content-Length": str(body.length),
            "Accept": DICOM_JSON,
        }
        path = f"/studies/{study}" if study else "/studies"
        with self._asked("POST", path, content=iter(body), headers=headers, storing=True) as answer:
            told = self._json(answer)
            status = answer.status_code
        try:
            stored = [_value(each, INSTANCE) for each in _items(told, STORED)]
            reasons = [int(_value(each, REASON) or 0) for each in _items(told, FAILED)]
        except (TypeError, ValueError, AttributeError):
            raise self._rubbish("no list of what it stored") from None
        if len(stored) < len(files) or reasons:
            words = ", ".join(sorted({_in_words(reason) for reason in reasons})) or "no reason"
            kind = ArchiveAwayError if NO_SPACE in reasons else ArchiveError
            raise kind(
                f"{self._name} stored {len(stored)} of {len(files)} instances ({status}): {words}"
            )
        return [str(uid) for uid in stored]

    def _read(self, answer: Any, reader: MultipartReader) -> None:
        try:
            for chunk in answer.iter_raw(1 << 16):
                reader.feed(chunk)
        except ValueError:
            raise self._rubbish("a body that is not multipart as it says") from None
        if not reader.is_whole:
            raise ArchiveAwayError(f"{self._name} ended its answer before its last boundary")

    @contextmanager
    def _asked(
        self, method: str, path: str, *, storing: bool = False, **request: Any
    ) -> Iterator[Any]:
        """An answer that is a success, or of a store one that has a list."""
        httpx, name = self._httpx, self._name
        try:
            with self._client.stream(method, self._root + path, **request) as answer:
                self._check(answer.status_code, storing=storing)
                yield answer
        except httpx.TimeoutException:
            raise ArchiveAwayError(f"{name} did not answer in time") from None
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            raise ArchiveAwayError(f"{name} broke the connection off") from None
        except (httpx.ConnectError, ssl.SSLError) as error:
            if "CERTIFICATE" in str(error):
                raise ArchiveError(
                    f"the certificate of {name} is not trusted; its authorities belong into its "
                    "file of credentials"
                ) from None
            raise ArchiveAwayError(f"{name} cannot be reached") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ArchiveError(f"{name} cannot be asked ({type(error).__name__})") from None

    def _check(self, status: int, *, storing: bool) -> None:
        name = self._name
        if status in (200, 204) or (storing and status in (202, 409)):
            return
        if status in (401, 403):
            raise ArchiveError(f"{name} asks for other credentials ({status})")
        if 300 <= status < 400:
            raise ArchiveError(
                f"{name} redirects, which is not followed ({status}); name where it leads to"
            )
        if status == 404 and not storing:
            raise NotInArchiveError(
                f"{name} has no such series, or its DICOMweb has another root (404)"
            )
        if status in PASSING:
            raise ArchiveAwayError(f"{name} cannot do it now ({status})")
        raise ArchiveError(f"{name} answered {status}")

    def _json(self, answer: Any) -> Any:
        content = b""
        for chunk in answer.iter_raw(1 << 16):
            content += chunk
            if len(content) > MOST_ANSWER:
                raise self._rubbish("more than 16 MiB where a list was asked for")
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise self._rubbish("something that is no JSON") from None

    def _rubbish(self, what: str) -> ArchiveError:
        return ArchiveError(
            f"{self._name} answered {what}; is the address the root of its DICOMweb?"
        )


def _facts(entry: dict[str, Any], study: str | None, series: str | None) -> FoundSeriesFacts:
    """Of a series; an archive may leave out what it was asked by."""
    try:
        count = _value(entry, INSTANCES)
        return FoundSeriesFacts(
            study=str(_value(entry, STUDY) or study or ""),
            series=str(_value(entry, SERIES) or series or ""),
            modality=str(_value(entry, MODALITY) or ""),
            instances=None if count is None else int(count),
        )
    except (TypeError, ValueError, AttributeError):
        raise ArchiveError("the archive describes a series in a way that is no DICOM") from None


def _value(entry: dict[str, Any], tag: str) -> Any:
    values = entry.get(tag, {}).get("Value") or [None]
    return values[0]


def _items(entry: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = entry.get(tag, {}).get("Value") or []
    return items


def _in_words(reason: int) -> str:
    """Source: DICOM PS3.18, table 10.5.1-1, and PS3.4, table B.2-1."""
    if reason >> 8 == NO_SPACE >> 8:
        return "it is out of space"
    words = {
        0x0110: "it failed on them",
        0xA900: "they do not match",
        0xC000: "it cannot read them",
    }
    return words.get(reason, f"reason {reason:#06x}")
