"""What comes back: masks, the state of a job, or what was wrong."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
from pydantic import ValidationError

from seg.client.schemas import JobStatus, ProblemDocument
from seg.files import replace_file


class ServiceError(Exception):
    """The service refused or failed, or cannot be reached (status 0)."""

    def __init__(self, problem: ProblemDocument, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem
        headers = headers or {}
        self.request_id = headers.get("X-Request-ID")
        after = headers.get("Retry-After", "")
        self.retry_after_s = float(after) if after.isdecimal() else None

    @property
    def status(self) -> int:
        """Of the answer."""
        return self.problem.status


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A mask, or a container of several files."""

    content: bytes
    media_type: str
    filename: str
    """As the service suggests it: ``mask.nii.gz``."""
    model: str | None
    """``name:version`` of what answered; None of a job, whose status has it."""
    quality: dict[str, Any] | None
    """What the model knows of the mask; None of several images, whose report has it."""
    failed: int = 0
    """Of several images, how many have no mask."""

    def save(self, path: Path | str) -> Path:
        """Write it, whole or not at all."""
        replace_file(Path(path), self.content)
        return Path(path)


def job_of(response: httpx.Response) -> JobStatus:
    """The state of a job."""
    return JobStatus.model_validate_json(response.content)


def answer_of(response: httpx.Response) -> Answer:
    """Files, with what the headers say of them."""
    headers = response.headers
    quality, model = headers.get("X-Segmentation-Quality"), headers.get("X-Segmentation-Model")
    return Answer(
        content=response.content,
        media_type=headers["Content-Type"],
        filename=headers["Content-Disposition"].partition('filename="')[2].rstrip('"'),
        model=unquote(model) if model else None,
        quality=json.loads(quality) if quality else None,
        failed=int(headers.get("X-Segmentation-Failed", 0)),
    )


def raise_for(response: httpx.Response) -> None:
    """Pass where all went well.

    Raises:
        ServiceError: the service refused or failed.
    """
    if response.is_success:
        return
    try:
        problem = ProblemDocument.model_validate_json(response.read())
    except ValidationError:  # something in front of the service answered, in words of its own
        problem = ProblemDocument(title=response.reason_phrase, status=response.status_code)
    raise ServiceError(problem, response.headers)


def unreachable(error: httpx.TransportError) -> ServiceError:
    """What to raise where no answer came."""
    detail = f"the service cannot be reached: {type(error).__name__}"
    return ServiceError(ProblemDocument(title="Unreachable", status=0, detail=detail))
