"""``POST /dicom-web/studies``: what a PACS forwards by STOW-RS becomes jobs, one a series."""

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import IO, Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response

from seg.errors import ImageError
from seg.images.dicom.instance_facts import InstanceFacts, are_two
from service.archives.instances import facts_of_sent
from service.archives.rules import SeriesFacts
from service.jobs.deciding import SeriesDecider
from service.jobs.received import Inbox, ReceivedSeries
from service.jobs.routes import Jobs, owner_of
from service.models.registry import ModelRegistry
from service.problems.response import Problem
from service.requests.open_files import OPEN_FILES
from service.requests.proxies import address, link
from service.requests.uploads import IN_MEMORY, read_related

CANNOT_UNDERSTAND, MISMATCH, NO_ROOM, DUPLICATE = 0xC000, 0xA900, 0xA700, 0x0111
"""Failure reasons. Source: DICOM PS3.18, table 10.5.1-1; of the last PS3.7, C.5.7."""
DICOM_JSON = "application/dicom+json"
MOST_SERIES = 200
"""Of a request: each has a file until its end."""
SIDE_BY_SIDE = 2
"""Requests of which something is read at the same time."""


Read = Callable[[IO[bytes]], InstanceFacts]


@dataclass(eq=False)
class _Series:
    file: IO[bytes]
    archive: zipfile.ZipFile
    instances: dict[str, InstanceFacts] = field(default_factory=dict)


class _Sorted:
    """A sink of parts: instances by series, each series a ZIP file."""

    def __init__(self, files: ExitStack, study: str | None, read: Read) -> None:
        self._files, self._study, self._read = files, study, read
        self._part: IO[bytes] | None = None
        self.series: dict[tuple[str, str], _Series] = {}
        """By study and series: anonymisers give one name to series of several patients."""
        self.taken: list[InstanceFacts] = []
        self.refused: list[tuple[InstanceFacts | None, int]] = []

    def begin(self, headers: Mapping[str, str]) -> None:
        self._part = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  closed at its end

    def write(self, content: bytes) -> None:
        assert self._part is not None
        self._part.write(content)

    def end(self) -> None:
        assert self._part is not None
        with self._part as part:
            part.seek(0)
            try:
                facts = self._read(part)
            except ImageError:
                self.refused.append((None, CANNOT_UNDERSTAND))
                return
            if self._study is not None and facts.study != self._study:
                self.refused.append((facts, MISMATCH))
                return
            if self._is_another(facts):
                self.refused.append((facts, DUPLICATE))
                return
            if facts.slices and not self._keep(facts, part):
                self.refused.append((facts, NO_ROOM))
            else:
                self.taken.append(facts)

    def _is_another(self, facts: InstanceFacts) -> bool:
        """Whether it bears the name of another image of this request: one of them would be lost."""
        series = self.series.get((facts.study, facts.series))
        known = series.instances.get(facts.instance) if series else None
        return known is not None and are_two(facts.look, known.look)

    def refuse(self, series: "_Series", names: Collection[str]) -> None:
        """Other images of these names came before, in other requests."""
        others = [each for name, each in series.instances.items() if name in names]
        self.refused += [(each, DUPLICATE) for each in others]
        self.taken = [each for each in self.taken if each not in others]

    def _keep(self, facts: InstanceFacts, part: IO[bytes]) -> bool:
        """Whether there is room for it."""
        name = facts.study, facts.series
        if name not in self.series:
            if len(self.series) == MOST_SERIES:
                return False
            OPEN_FILES.add()
            self._files.callback(OPEN_FILES.add, -1)
            file = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
            archive = self._files.enter_context(zipfile.ZipFile(file, "w", zipfile.ZIP_STORED))
            self.series[name] = _Series(file, archive)
        series = self.series[name]
        if facts.instance in series.instances:
            return True
        series.instances[facts.instance] = facts
        part.seek(0)
        with series.archive.open(f"{facts.instance}.dcm", "w", force_zip64=True) as member:
            shutil.copyfileobj(part, member, 1 << 20)
        return True


class Forwarded:
    """Takes in what archives forward."""

    def __init__(self, models: ModelRegistry, jobs: Jobs) -> None:
        """Read the rules.

        Raises:
            ConfigError: they cannot be read, or say what cannot be.
        """
        self._models = models
        self._inbox = Inbox(jobs.store, jobs.files, models.settings)
        destinations = jobs.runner.archived.destinations
        self._decider = SeriesDecider(models, destinations.names)
        self._limiter = CapacityLimiter(SIDE_BY_SIDE)
        self._decide = partial(self._decider.decided, destination=destinations.default)

    async def store(self, request: Request) -> Response:
        """``POST /dicom-web/studies``: instances in, whose series become jobs."""
        self._models.require_ready()
        with ExitStack() as files:
            found = _Sorted(files, request.path_params.get("study"), self._reader())
            await read_related(request, found, self._limiter)
            owner = owner_of(request)
            taken = [
                await run_sync(self._take, owner, found, each) for each in found.series.values()
            ]
        jobs = [job for job in taken if job is not None]
        if not found.taken and not found.refused:
            raise Problem(400, "the body holds no instance")
        headers = {"Location": link(request.scope, "jobs", jobs[0])} if len(jobs) == 1 else {}
        return _answer(request, self._models.settings.proxy, found, headers)

    def _reader(self) -> Read:
        """Tells what instances are, in a process that is ended at a limit and when time is up."""
        settings, decoder = self._models.settings, self._models.decoder
        until = monotonic() + settings.timeout_s

        def check() -> None:
            if monotonic() > until:
                raise Problem(504, f"the instances took longer than {settings.timeout_s:g} s")

        return lambda part: facts_of_sent(part, decoder, check)

    def _take(self, owner: str, found: _Sorted, series: _Series) -> str | None:
        """The job of a series; None where nothing is to be done with it, whatever else comes."""
        series.archive.close()
        facts = SeriesFacts.of(series.instances.values())
        if not self._decider.may_fit(facts):
            return None
        taken = self._inbox.take(owner, ReceivedSeries(facts, series.file), self._decide)
        found.refuse(series, taken.clashing)
        return taken.job


def _answer(
    request: Request, proxy: str | None, found: _Sorted, headers: dict[str, str]
) -> Response:
    """Source: DICOM PS3.18, 10.5.3."""
    body: dict[str, Any] = {}
    if found.taken:
        body["00081190"] = _element("UR", _url(request, proxy, found.taken[0].study))
        stored = [
            {**_names(each), "00081190": _element("UR", _url(request, proxy, each.study))}
            for each in found.taken
        ]
        body["00081199"] = {"vr": "SQ", "Value": stored}
    if found.refused:
        failed = [
            {**(_names(each) if each else {}), "00081197": _element("US", reason)}
            for each, reason in found.refused
        ]
        body["00081198"] = {"vr": "SQ", "Value": failed}
    status = 200
    if found.refused:
        conflicts = all(reason in (MISMATCH, DUPLICATE) for _, reason in found.refused)
        status = 202 if found.taken else 409 if conflicts else 400
    return Response(json.dumps(body), status, headers, media_type=DICOM_JSON)


def _names(facts: InstanceFacts) -> dict[str, Any]:
    return {
        "00081150": _element("UI", facts.sop_class),
        "00081155": _element("UI", facts.instance),
    }


def _element(representation: str, value: object) -> dict[str, Any]:
    return {"vr": representation, "Value": [value]}


def _url(request: Request, proxy: str | None, study: str) -> str:
    return address(request.scope, proxy, "dicom-web", "studies", study)
