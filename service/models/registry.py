"""The models of a process: found in a folder, proven, and chosen by name and version."""

import gc
import shutil
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from time import monotonic

from seg.errors import ConfigError, PackageError
from seg.model_package import read_card
from service.decoding.image_decoder import ImageDecoder
from service.errors import NotReadyError
from service.models.folder import (
    ARRIVING,
    GONE,
    UNPROVEN,
    Fingerprint,
    fingerprint_of,
    packages_in,
    remove_leftovers,
)
from service.models.memory import ModelMemory
from service.models.rules import ServingRules, drawn_version, live_version
from service.models.versions import ModelVersion, latest, named, newest_first
from service.observability.folders import without_folders
from service.observability.logs import LOGGER, where_it_failed
from service.observability.metrics import Metrics
from service.problems.response import Problem
from service.requests.folder_room import FolderRoom
from service.settings import Settings

TIDY_S = 3600.0
"""Seconds between two looks for what was left behind."""
LOADING = "the model is being loaded"
TOO_FULL = (
    "the folder of models may take {most} here; remove versions that answer nobody (DELETE "
    "/models/NAME/versions/VERSION), or raise SEG_MAX_MODELS_MB"
)


class ModelRegistry:
    """Versions of models, each from one folder.

    A version whose folder changes serves on until what is there now is proven.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.decoder = ImageDecoder(settings)
        self.memory = ModelMemory(settings, metrics)
        single = settings.single_package
        self._single = None if single is None else single.absolute()
        self._versions: tuple[ModelVersion, ...] = ()
        self._unreadable: dict[Path, str] = {}
        self._tried: dict[Path, Fingerprint] = {}
        self._seen: Mapping[Path, Fingerprint] = {}
        self.rules = ServingRules(settings.models)
        root = settings.models or Path()
        self.room = FolderRoom(root, settings.max_models_bytes, TOO_FULL, [root / ARRIVING])
        self._incoming: set[Path] = set()
        self._next_tidy = 0.0
        self._wake = threading.Event()
        self._settled = threading.Event()
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="watch-models", daemon=True)

    def start(self) -> None:
        """Look for packages in the background, so that the service answers while it waits."""
        self.decoder.start()
        self._watcher.start()

    def wait(self) -> None:
        """Return when what was there at the start is proven or has failed."""
        self._settled.wait()

    def cancel(self) -> None:
        """End what runs as soon as may be: who waits for it is told that the service ends."""
        self.decoder.close()
        for model in self.memory.models():
            model.scheduler.close()

    def close(self) -> None:
        """Finish what runs and take no more."""
        self.decoder.close()
        self._closing.set()
        self._wake.set()
        if self._watcher.is_alive():
            self._watcher.join()
        self.memory.close()

    # What there is

    def versions(self) -> tuple[ModelVersion, ...]:
        """All that is found, broken ones as well."""
        return self._versions

    def able(self) -> list[ModelVersion]:
        """Those that may answer: not broken, and on a device that computes."""
        return [v for v in self._versions if v.state != "broken" and _illness(v) is None]

    def why_not_able(self, label: str) -> str | None:
        """Why the version of that label computes nothing here now; None where it may."""
        version = next((each for each in self._versions if each.label == label), None)
        if version is None:
            return f"{label} is not here any more" if self._settled.is_set() else LOADING
        return version.reason if version.state == "broken" else _illness(version)

    def unreadable(self) -> dict[str, str]:
        """Folders that hold no valid ``model.json``, and why."""
        return {folder.name: reason for folder, reason in self._unreadable.items()}

    @property
    def is_ready(self) -> bool:
        """Whether all was tried once and something serves."""
        return self._settled.is_set() and any(
            version.state == "proven" and _illness(version) is None for version in self._versions
        )

    def require_ready(self) -> None:
        """For the readiness probe.

        Raises:
            NotReadyError: nothing serves; says why.
        """
        if not self.is_ready:
            raise NotReadyError(self._why_not(self._versions))

    def require_alive(self) -> None:
        """For the liveness probe.

        Raises:
            NotReadyError: a device has died; only a new process can help.
        """
        if died := self.why_dead():
            raise NotReadyError(died)

    def why_dead(self) -> str | None:
        """What is wrong with a device that has died; None where none has."""
        dead = [model.health for model in self.memory.models() if model.health.is_dead]
        return (dead[0].reason or "a device has died") if dead else None

    def default_name(self) -> str | None:
        """The model that answers requests which name none; None when they have to."""
        if self.settings.default_model:
            return self.settings.default_model
        names = {v.card.name for v in self._at(self._single)} if self._single else set()
        names = names or {v.card.name for v in self._versions}
        return names.pop() if len(names) == 1 else None

    def choose(self, choice: str | None = None) -> ModelVersion:
        """The version that ``name``, ``name:version`` or nothing means now.

        Raises:
            Problem: 404 for what is not there; 422 when a name is needed.
            NotReadyError: it is not proven yet, or broken.
        """
        versions = self._versions
        if not versions:
            raise NotReadyError(self._why_not(versions))
        choice = choice or self.default_name()
        if choice is None:
            names = ", ".join(sorted({v.card.name for v in versions}))
            raise Problem(422, f"say which model: ?model=NAME, one of {names}")
        meant = named(choice, versions)
        if choice == meant[0].card.name:
            return self._drawn(choice, meant)
        is_exact = len(meant) == 1 and choice == meant[0].label
        found = latest(meant) or (meant[0] if is_exact and meant[0].state == "found" else None)
        if found is None:
            raise NotReadyError(self._why_not(meant))
        return found

    def _drawn(self, name: str, versions: Sequence[ModelVersion]) -> ModelVersion:
        """The version that answers a request which names the model alone."""
        try:
            rule = self.rules.of(name)
        except ConfigError as error:
            raise NotReadyError(str(error)) from error
        found = drawn_version(versions, rule)
        if found is None and rule.pinned is not None and self._settled.is_set():
            raise NotReadyError(
                f"model {name} is pinned to version {rule.pinned}, which is not proven here"
            )
        if found is None and rule.candidate is not None and self._settled.is_set():
            raise NotReadyError(
                f"model {name} has its candidate {rule.candidate} for a share of requests, and no "
                "other version that is proven here for the others"
            )
        if found is None:
            raise NotReadyError(self._why_not(versions))
        return found

    def _why_not(self, versions: Sequence[ModelVersion]) -> str:
        ill = next(filter(None, map(_illness, versions)), None)
        if ill:
            return ill
        broken = [v for v in newest_first(versions) if v.state == "broken"]
        if not self._settled.is_set() or len(broken) < len(versions):
            return LOADING
        if broken:
            return broken[0].reason
        nothing = "there is no model package yet"
        if self.settings.studio:
            nothing += ": draw and train a first model in the studio, /studio"
        return next(iter(self._unreadable.values()), nothing)

    # Changes that an operator asks for; from any thread but that of the event loop

    def live(self, name: str) -> ModelVersion | None:
        """The version that answers requests which name the model alone, but for a candidate's."""
        versions = [v for v in self._versions if v.card.name == name]
        return live_version(versions, self.rules.of(name))

    def prove(self, version: ModelVersion) -> None:
        """Prove a version, if nobody has yet, and wait for it."""
        if version.state == "found":
            self.memory.prove(version)

    def prove_beside(self, name: str, candidate: str | None) -> None:
        """Prove the version of a model that answers where a candidate does not."""
        beside = (v for v in self._versions if v.card.name == name and v.card.version != candidate)
        for version in newest_first(beside):
            self.prove(version)
            if version.state == "proven":
                return

    def adopt(self, staged: Path, target: Path) -> ModelVersion:
        """Take a package in, and wait until it is proven or broken; it is live no sooner.

        Where the process dies over it, no other process takes it for a package.

        Raises:
            NotReadyError: it took too long, or the service is shutting down.
            Problem: 507, there is no room for it.
        """
        self.room.require(*(file.stat().st_size for file in staged.iterdir()))
        (staged / UNPROVEN).touch()
        staged.rename(target)
        self._incoming.add(target)
        self._wake.set()
        deadline = monotonic() + self.settings.timeout_s
        while monotonic() < deadline and not self._closing.wait(0.02):
            version = next((v for v in self._at(target) if v.state != "found"), None)
            if version:
                return version
        raise NotReadyError("the model was taken in, and is still being proven")

    def remove(self, version: ModelVersion) -> None:
        """Delete a version's folder; requests in flight finish on it."""
        hidden = version.folder.with_name(f".{version.folder.name}{GONE}")
        shutil.rmtree(hidden, ignore_errors=True)  # of one that was ended over it
        version.folder.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)
        self._wake.set()
        while self._at(version.folder) and not self._closing.wait(0.02):
            pass

    # The watcher's thread

    def _watch(self) -> None:
        single = self._single
        if single is not None:
            self._appeared(single, fingerprint_of(single))
        self._tidy()
        self._look()
        # What is there now stays: the collector need not look through it again and again.
        gc.collect()
        gc.freeze()
        self._settled.set()
        while self.settings.models and not self._closing.is_set():
            self._wake.wait(self.settings.models_poll_s)
            self._wake.clear()
            if not self._closing.is_set():
                self._tidy()
                self._look()

    def _tidy(self) -> None:
        """Now and then take away what processes left that died over a package."""
        if self.settings.models and monotonic() >= self._next_tidy:
            self._next_tidy = monotonic() + TIDY_S
            remove_leftovers(self.settings.models)

    def _look(self) -> None:
        """Take note of what appeared, changed or went, and prove what is new."""
        try:
            if self.settings.models:
                self._compare(packages_in(self.settings.models.absolute()))
            incoming = [folder for folder in self._incoming if not self._at(folder)]
            for folder in incoming:
                self._appeared(folder, fingerprint_of(folder))
            self._mark_duplicates()
            for version in [v for folder in incoming for v in self._at(folder)]:
                self.prove(version)
                if version.state != "found":
                    (version.folder / UNPROVEN).unlink(missing_ok=True)
            self._incoming.difference_update(incoming)
            self._prove()
        except Exception as error:  # the next look may do better, and requests are served meanwhile
            LOGGER.error("error", extra={"fields": where_it_failed(error)})

    def _compare(self, now: Mapping[Path, Fingerprint]) -> None:
        known = {v.folder for v in self._versions} | set(self._unreadable)
        for folder in known - set(now) - self._incoming - {self._single}:
            self._gone(folder)
        for folder, fingerprint in now.items():
            # A package that is being copied changes from look to look: it is left to itself.
            is_still = not self._settled.is_set() or self._seen.get(folder) == fingerprint
            is_new = self._tried.get(folder) != fingerprint
            if is_still and is_new and folder != self._single:
                self._appeared(folder, fingerprint)
        self._seen = now

    def _appeared(self, folder: Path, fingerprint: Fingerprint) -> None:
        self._tried[folder] = fingerprint
        self._unreadable.pop(folder, None)
        for version in self._at(folder):
            if version.model:
                version.stale = True  # it serves on until its successor is proven
            else:
                self._drop(version)
        try:
            version = ModelVersion(folder=folder, card=read_card(folder))
        except PackageError as error:
            self._unreadable[folder] = reason = without_folders(str(error), folder)
            LOGGER.error("not ready", extra={"fields": {"reason": reason}})
            return
        self._versions = (*self._versions, version)

    def _gone(self, folder: Path) -> None:
        self._tried.pop(folder, None)
        self._unreadable.pop(folder, None)
        for version in self._at(folder):
            self._drop(version)

    def _mark_duplicates(self) -> None:
        taken: dict[tuple[str, str], ModelVersion] = {}
        for version in sorted(self._versions, key=lambda v: v.state != "proven"):
            other = taken.setdefault(version.key, version)
            if other.folder != version.folder:
                version.fault, version.state = "duplicate", "broken"
                version.reason = f"{version.label} is in {other.folder.name} already"
            elif version.fault == "duplicate":
                version.fault, version.state, version.reason = None, "found", ""

    def _prove(self) -> None:
        """Prove the highest version of each model, and what is to take a stale one's place."""
        for stale in [v for v in self._versions if v.stale]:
            self._prove_first(v for v in self._at(stale.folder) if not v.stale)
        for name in sorted({v.card.name for v in self._versions}):
            self._prove_first(newest_first(v for v in self._versions if v.card.name == name))
            rule = self.rules.of(name)
            for version in self._versions:
                if version.card.name == name and version.card.version in rule.names():
                    self.prove(version)
            if rule.candidate is not None and rule.pinned is None:
                self.prove_beside(name, rule.candidate)

    def _prove_first(self, versions: Iterable[ModelVersion]) -> None:
        for version in versions:
            if version.state == "found":
                self.memory.prove(version)
            if version.state == "proven":
                for other in self._at(version.folder):
                    if other.stale and other is not version:
                        self._drop(other)
                return

    def _at(self, folder: Path) -> list[ModelVersion]:
        return [v for v in self._versions if v.folder == folder]

    def _drop(self, version: ModelVersion) -> None:
        self._versions = tuple(v for v in self._versions if v is not version)
        self.memory.retire(version)


def _illness(version: ModelVersion) -> str | None:
    """Why the device of a version that is in memory does not compute; None where it does."""
    return version.model.health.reason if version.model else None
