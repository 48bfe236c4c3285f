"""When a series that comes by C-STORE is complete, and what happens to it then."""

import tempfile
import threading
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic, time

from seg.errors import ImageError
from seg.images.dicom.instance_facts import InstanceFacts, are_two
from service.archives.destinations import Destinations
from service.archives.instances import facts_of_sent
from service.archives.peers import Peer
from service.errors import DecodingFullError, NotReadyError, SchedulerClosedError
from service.frontends.dimse.spool import PackedSeries, Spool
from service.jobs.database import DatabaseUnavailableError
from service.jobs.deciding import SeriesDecider
from service.jobs.files import FilesUnavailableError
from service.jobs.received import Inbox, ReceivedSeries
from service.jobs.routes import Jobs
from service.models.registry import ModelRegistry
from service.observability.logs import LOGGER, where_it_failed
from service.problems.response import Problem

OWNER = "dicom"
"""Whose jobs these are: no key sees them."""
LOOK_S = 0.1
"""Seconds between two looks at what is complete."""
AGAIN_S = 2.0
"""Seconds after which a series is handed over again that could not be."""


@dataclass(eq=False)
class _Arriving:
    last: float
    """When its last instance came, by the monotonic clock."""
    open: set[int] = field(default_factory=set)
    """Associations that it comes over."""
    is_released: bool = False
    """The association that it came over last has ended as it should."""
    not_before: float = 0.0


class Receiver:
    """Keeps instances, and makes jobs of series that are complete.

    A series is complete when the association that it came over is released, or after a while of
    silence on one that stays open. Where an association broke off, or this process died, its sender
    most likely sends again: it is waited for longer.
    """

    def __init__(
        self, models: ModelRegistry, jobs: Jobs, destinations: Destinations, spool: Spool
    ) -> None:
        """Take up what was left.

        Raises:
            ConfigError: the rules cannot be read.
        """
        self._settings = models.settings
        self._spool = spool
        self._destinations = destinations
        self._inbox = Inbox(jobs.store, jobs.files, models.settings)
        self._runner = jobs.runner
        self._decider = SeriesDecider(models, destinations.names)
        self._read = partial(facts_of_sent, decoder=models.decoder, check=self._check)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        behind = monotonic() - time()
        self._arriving = {
            name: _Arriving(at + behind, is_released=spool.is_released(name))
            for name, at in spool.series().items()
        }
        self._thread = threading.Thread(target=self._watch, name="dicom-series", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; what has come stays."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def keep(self, content: Path, association: int, sender: Peer | None) -> None:
        """Take an instance in; it outlives this process when this returns.

        What is no image of a patient (our own masks, reports, localizers) is taken and left alone.

        Raises:
            ImageError: it is none, or another one bears its name.
            SpoolFullError: there is no room now.
            OSError: likewise.
        """
        with content.open("rb") as file:
            facts = self._read(file)
        if not facts.slices:
            return
        self._check_other(facts)
        name = self._spool.keep(facts, content, sender.name if sender else None)
        with self._lock:
            series = self._arriving.setdefault(name, _Arriving(monotonic()))
            series.last = monotonic()
            series.open.add(association)
            series.is_released = False

    def _check_other(self, facts: InstanceFacts) -> None:
        """Two images of one SOPInstanceUID: the second would take the first one's place."""
        try:
            with self._spool.path_of(facts).open("rb") as file:
                known = self._read(file)
        except FileNotFoundError:
            return
        if are_two(facts.look, known.look):
            raise ImageError("another image of this series has the same SOPInstanceUID")

    def _check(self) -> None:
        if self._closing.is_set():
            raise SchedulerClosedError("the service is shutting down")

    def ended(self, association: int, *, released: bool) -> None:
        """An association is over, as it should be or broken off."""
        with self._lock:
            for name, series in self._arriving.items():
                if association in series.open:
                    series.open.discard(association)
                    series.is_released = released
                    if released:
                        self._note_released(name)

    def _note_released(self, name: str) -> None:
        """For whoever comes after this process; without it a series waits for its sender."""
        try:
            self._spool.mark_released(name)
        except OSError as error:
            LOGGER.error("error", extra={"fields": where_it_failed(error)})

    def _watch(self) -> None:
        while not self._closing.wait(LOOK_S):
            now = monotonic()
            with self._lock:
                complete = [n for n, series in self._arriving.items() if self._is_due(series, now)]
            for name in complete:
                if self._closing.is_set():
                    return
                self._hand_over(name)

    def _is_due(self, series: _Arriving, now: float) -> bool:
        if now < series.not_before:
            return False
        if series.open:
            return now - series.last >= self._settings.dicom_silence_s
        return series.is_released or now - series.last >= self._settings.dicom_broken_s

    def _hand_over(self, name: str) -> None:
        with self._lock:
            arriving = self._arriving[name]
            is_cut_off = not (arriving.open or arriving.is_released)
        try:
            with tempfile.TemporaryFile() as file:
                packed = self._spool.pack(name, file, self._read)
                if packed is not None:
                    self._take(packed, ReceivedSeries(packed.facts, file), is_cut_off)
            self._forget(name, packed)
        except (
            NotReadyError,
            DatabaseUnavailableError,
            FilesUnavailableError,
            DecodingFullError,
            SchedulerClosedError,
        ):
            self._again(name)  # it passes; whoever is not there says so in the log
        except Problem as problem:
            LOGGER.error("series waits", extra={"fields": {"reason": problem.detail}})
            self._again(name, 10 * AGAIN_S)
        except Exception as error:
            LOGGER.error("series waits", extra={"fields": where_it_failed(error)})
            self._again(name, 10 * AGAIN_S)

    def _take(self, packed: PackedSeries, series: ReceivedSeries, is_cut_off: bool) -> None:
        fields: dict[str, object] = {"instances": len(packed.facts.slices_of)}
        if packed.sender:
            fields["peer"] = packed.sender
        if not self._decider.may_fit(packed.facts):
            LOGGER.info("series left alone", extra={"fields": fields})
            return
        decide = partial(
            self._decider.decided,
            destination=packed.sender or self._destinations.default,
            is_cut_off=is_cut_off,
        )
        taken = self._inbox.take(OWNER, series, decide, silence_s=0)
        if n := len(taken.clashing):
            LOGGER.warning("other images of the same names", extra={"fields": {"n": n}})
        self._runner.wake()
        LOGGER.info("series received", extra={"fields": {**fields, "job": taken.job}})

    def _forget(self, name: str, packed: PackedSeries | None) -> None:
        with self._lock:
            if self._spool.delete(name, packed):
                self._arriving.pop(name, None)

    def _again(self, name: str, after_s: float = AGAIN_S) -> None:
        with self._lock:
            if name in self._arriving:
                self._arriving[name].not_before = monotonic() + after_s
