"""Asks one service."""

import json
import tempfile
import time
import uuid
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Unpack
from urllib.parse import parse_qsl, quote, urlsplit

import httpx

from seg.client.answers import Answer, ServiceError, answer_of, job_of, raise_for, unreachable
from seg.client.schemas import (
    JobListing,
    JobStatus,
    ModelEntry,
    ModelListing,
    ProblemDocument,
    ServedCard,
)
from seg.client.wanted import Image, Wanted, channels_of, open_file, query_of

COME_BACK = (429, 503, 507)
"""Refusals that say when to ask again."""
LONGEST_WAIT_S = 60.0
QUIET_S = 60.0
"""Seconds without an event after which a connection is given up; the service sends one in 15."""


class Client:
    """Asks one service. All methods raise ``ServiceError``."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout_s: float = 300,
        retries: int = 3,
        verify: bool | str = True,
    ) -> None:
        """Connect when asked.

        Args:
            url: ``http://127.0.0.1:3000``.
            key: where the service asks for one.
            timeout_s: longest wait for an answer.
            retries: how often a request is sent again that was refused with 429, 503 or 507.
            verify: False, or a file of certificates, as httpx takes it.
        """
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._retries = retries
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s, verify=verify)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def segment(self, image: Image, **wanted: Unpack[Wanted]) -> Answer:
        """The mask of an image."""
        return answer_of(self._post("/segment", channels_of(image), wanted))

    def segment_all(self, images: Iterable[Path | str | bytes], **wanted: Unpack[Wanted]) -> Answer:
        """A ZIP file with the masks of several images, and a report."""
        return answer_of(self._post("/segment", [("images", image) for image in images], wanted))

    def submit(
        self, image: Image, *, idempotency_key: str | None = None, **wanted: Unpack[Wanted]
    ) -> JobStatus:
        """Have an image segmented as a job; sent again with the same key, it is the same job."""
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        return job_of(self._post("/jobs", channels_of(image), wanted, headers))

    def job(self, job: JobStatus | str) -> JobStatus:
        """How far a job is."""
        return job_of(self._send("GET", _path_of(job)))

    def jobs(self) -> Iterator[JobStatus]:
        """All jobs of whoever asks, the newest first."""
        after: dict[str, str] = {}
        while True:
            answer = self._send("GET", "/jobs", params=after)
            listing = JobListing.model_validate_json(answer.content)
            yield from listing.jobs
            if listing.next is None:
                return
            after = dict(parse_qsl(urlsplit(listing.next).query))

    def follow(self, job: JobStatus | str) -> Iterator[JobStatus]:
        """A job whenever it gets further, until it is over; goes on when a connection breaks."""
        failures = 0
        while True:
            wait_s = 1.0 + failures
            try:
                for status in self._events(f"{_path_of(job)}/events"):
                    failures = 0
                    yield status
                    if status.is_over:
                        return
            except (httpx.TransportError, ServiceError) as error:
                wait_s = self._wait_after(error, self._retries - failures)
                failures += 1
            time.sleep(wait_s)

    def result(self, job: JobStatus | str) -> Answer:
        """The answer of a job that is done; of one that failed its problem is raised."""
        return answer_of(self._send("GET", f"{_path_of(job)}/result"))

    def save_result(self, job: JobStatus | str, path: Path | str) -> Path:
        """Write the answer of a job to a file without holding it in memory."""
        target = Path(path)
        part = target.with_name(target.name + ".part")
        try:
            for left in range(self._retries, -1, -1):
                try:
                    self._download(f"{_path_of(job)}/result", part)
                    break
                except (httpx.TransportError, ServiceError) as error:
                    time.sleep(self._wait_after(error, left))
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target

    def delete(self, job: JobStatus | str) -> None:
        """Stop a job, and delete its files."""
        self._send("DELETE", _path_of(job))

    def models(self) -> ModelListing:
        """All models and their versions."""
        return ModelListing.model_validate_json(self._send("GET", "/models").content)

    def model(self, name: str) -> ModelEntry:
        """The versions of a model."""
        return ModelEntry.model_validate_json(
            self._send("GET", f"/models/{quote(name, '')}").content
        )

    def put_model(
        self, name: str, package: Path | str, *, share: float | None = None
    ) -> ModelEntry:
        """Send a package's folder; it answers once it is proven there.

        Args:
            name: of the model, as its card has it.
            package: folder that ``training.fit`` wrote.
            share: of the requests that name no version, 0 to 1; None is all of them.
        """
        query = {} if share is None else {"share": str(share)}
        with tempfile.TemporaryFile() as file:
            with zipfile.ZipFile(file, "w") as archive:
                for path in sorted(Path(package).iterdir()):
                    if path.is_file():
                        archive.write(path, path.name)
            file.seek(0)
            try:
                response = self._http.put(f"/models/{quote(name, '')}", params=query, content=file)
            except httpx.TransportError as error:
                raise unreachable(error) from error
        raise_for(response)
        return ModelEntry.model_validate_json(response.content)

    def card(self, model: str | None = None) -> ServedCard:
        """The card of a model, or of the one that answers where none is named."""
        query = {"model": model} if model else {}
        return ServedCard.model_validate_json(self._send("GET", "/model", params=query).content)

    def is_ready(self) -> bool:
        """Whether it serves."""
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def _post(
        self,
        path: str,
        files: Sequence[tuple[str, Path | str | bytes]],
        wanted: Wanted,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        return self._send("POST", path, params=query_of(wanted), headers=headers, files=files)

    def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        files: Sequence[tuple[str, Path | str | bytes]] = (),
    ) -> httpx.Response:
        for left in range(self._retries, -1, -1):
            try:
                with ExitStack() as opened:
                    parts = [(name, ("image", open_file(file, opened))) for name, file in files]
                    response = self._http.request(
                        method, path, params=params, headers=headers, files=parts or None
                    )
                raise_for(response)
            except httpx.TransportError as error:
                raise unreachable(error) from error
            except ServiceError as error:
                time.sleep(self._wait_after(error, left))
            else:
                return response
        raise AssertionError

    def _wait_after(self, error: httpx.TransportError | ServiceError, left: int) -> float:
        """Seconds until it is of use to ask again; the error is raised where it is of none."""
        if isinstance(error, httpx.TransportError):
            if left <= 0:
                raise unreachable(error) from error
            return 1.0 + self._retries - left
        if error.status not in COME_BACK or error.retry_after_s is None or left <= 0:
            raise error
        return min(error.retry_after_s, LONGEST_WAIT_S)

    def _download(self, path: str, target: Path) -> None:
        with self._http.stream("GET", path) as response:
            raise_for(response)
            with target.open("wb") as file:
                for chunk in response.iter_bytes():
                    file.write(chunk)

    def _events(self, path: str) -> Iterator[JobStatus]:
        timeout = httpx.Timeout(self._http.timeout.connect, read=QUIET_S)
        with self._http.stream("GET", path, timeout=timeout) as response:
            raise_for(response)
            for line in response.iter_lines():
                name, _, value = line.partition(":")
                if name != "data":
                    continue
                event = json.loads(value)
                if event["state"] == "deleted":
                    raise ServiceError(
                        ProblemDocument(title="Not Found", status=404, detail="the job was deleted")
                    )
                yield JobStatus.model_validate(event)


def _path_of(job: JobStatus | str) -> str:
    return f"/jobs/{quote(job if isinstance(job, str) else job.id, safe='')}"
