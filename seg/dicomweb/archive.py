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
from seg.dicomweb.attributes import value_of
from seg.dicomweb.credentials import Credentials
from seg.dicomweb.instances import InstancesZip
from seg.dicomweb.multipart import MultipartBody, MultipartReader, boundary_of
from seg.dicomweb.needed import needed
from seg.dicomweb.open_files import Readable, Rewindable
from seg.dicomweb.paging import again_after, all_pages
from seg.dicomweb.stored import StoredAnswer
from seg.errors import ArchiveAwayError, ArchiveError, NotInArchiveError

STUDY, SERIES, INSTANCES, MODALITY = "0020000D", "0020000E", "00201209", "00080060"
INSTANCE = "00080018"
"""Attributes of answers, as tags."""

CONNECT_S, IDLE_S = 10.0, 120.0
"""An archive may have to fetch from tape what it sends."""
MOST_ANSWER = 16 << 20
"""Bytes of an answer that is no image."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be others later."""
JUDGED = (200, 202, 400, 409)
"""Statuses of a store that may come with a list of what was stored and what was not."""
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
        found = [_facts(each, study, series) for each in self._found(path, query, SERIES)]
        if series:  # an archive may pass over what it is asked by
            found = [each for each in found if each.series == series]
        if not found:
            what = "series" if series else "study"
            raise NotInArchiveError(f"{self._name} has no such {what}")
        if series and len({each.study for each in found}) > 1:
            raise ArchiveError(f"{self._name} has this series in several studies; name the study")
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
        wanted = self._count(facts) if facts.instances is None else facts.instances
        with self._asked("GET", path, headers={"Accept": ALL_INSTANCES}) as answer:
            boundary = boundary_of(answer.headers.get("content-type", ""))
            if boundary is None:
                raise self._rubbish("no multipart/related of instances")
            instances = InstancesZip(target, most_bytes, on_bytes)
            try:
                self._read(answer, MultipartReader(boundary, instances))
            finally:
                instances.close()
        if wanted is not None and instances.count < wanted:
            raise ArchiveAwayError(
                f"{self._name} sent {instances.count} of the {wanted} instances that it says the "
                "series has"
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
            content, status = self._content(answer), answer.status_code
        if not content and status == 200:  # which says by itself that all are stored
            return body.instances
        if status in (400, 409) and not content.startswith(b"{"):
            raise ArchiveError(f"{self._name} answered {status} and stored nothing")
        told = self._json(content)
        try:
            found = StoredAnswer.of(told)
        except (TypeError, ValueError, AttributeError):
            raise self._rubbish("no list of what it stored") from None
        if len(found.stored) < len(files) or found.reasons:
            kind = ArchiveAwayError if found.is_out_of_space else ArchiveError
            raise kind(
                f"{self._name} stored {len(found.stored)} of {len(files)} instances ({status}): "
                f"{found.in_words}"
            )
        return list(found.stored)

    def _found(self, path: str, query: dict[str, str], key: str) -> list[dict[str, Any]]:
        """What QIDO-RS finds, of all pages, by an attribute that each entry has of its own."""

        def page(offset: int) -> list[dict[str, Any]]:
            params = {**query, "offset": str(offset)} if offset else query
            with self._asked("GET", path, params=params, headers={"Accept": DICOM_JSON}) as answer:
                content = self._content(answer)
            entries = self._json(content) if content else []
            if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
                raise self._rubbish("no list of series or instances")
            return entries

        first = page(0)
        if query and len(first) <= 1:  # what was asked for, or nothing
            return first
        try:
            return all_pages(lambda n: page(n) if n else first, lambda entry: value_of(entry, key))
        except (TypeError, AttributeError):
            raise self._rubbish("no list of series or instances") from None

    def _count(self, facts: FoundSeriesFacts) -> int | None:
        """Instances of a series, one by one; None where the archive does not say."""
        path = f"/studies/{facts.study}/series/{facts.series}/instances"
        try:
            return len(self._found(path, {}, INSTANCE)) or None
        except ArchiveAwayError:
            raise
        except ArchiveError:
            return None

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
                self._check(answer, storing=storing)
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

    def _check(self, answer: Any, *, storing: bool) -> None:
        name, status = self._name, answer.status_code
        if status in (200, 204) or (storing and status in JUDGED):
            return
        if status == 206:
            raise ArchiveAwayError(f"{name} sent a part of the series alone (206)")
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
            again_s = again_after(answer.headers.get("retry-after"))
            raise ArchiveAwayError(f"{name} cannot do it now ({status})", again_s)
        raise ArchiveError(f"{name} answered {status}")

    def _content(self, answer: Any) -> bytes:
        content = b""
        for chunk in answer.iter_raw(1 << 16):
            content += chunk
            if len(content) > MOST_ANSWER:
                raise self._rubbish("more than 16 MiB where a list was asked for")
        return content.strip()

    def _json(self, content: bytes) -> Any:
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
        count = value_of(entry, INSTANCES)
        return FoundSeriesFacts(
            study=str(value_of(entry, STUDY) or study or ""),
            series=str(value_of(entry, SERIES) or series or ""),
            modality=str(value_of(entry, MODALITY) or ""),
            instances=None if count is None else int(count),
        )
    except (TypeError, ValueError, AttributeError):
        raise ArchiveError("the archive describes a series in a way that is no DICOM") from None
