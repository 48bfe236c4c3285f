"""Training on what people drew, as a process of its own with low priority; one at a time.

``training.improve`` trains the model that answers on and compares both on held-back images;
``training.fit`` makes the first one. What is proposed answers when a person agrees, or by itself
where its order says so and a paired test is sure; nothing of it lies among the models before that.
"""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import psutil

from seg.errors import SegError
from seg.files import replace_file
from seg.machine import memory_here
from seg.model_package import read_card, write_card
from service.errors import NotReadyError
from service.models.arrival import folder_name
from service.models.folder import ARRIVING
from service.models.registry import ModelRegistry
from service.models.versions import ModelVersion
from service.observability.logs import LOGGER, where_it_failed
from service.observability.process_memory import family_bytes, family_of
from service.problems.response import Problem
from service.requests.folder_room import SHARE, bytes_in, free_at
from service.studio import training_process
from service.studio.on_disk.held_back import check_done
from service.studio.on_disk.image_files import ASIDE, TRAINING
from service.studio.on_disk.studio_folder import StudioFolder
from service.studio.training_process import last_words, remove_dead, training_folder
from service.studio.training_task import TrainingState, TrainingTask

NICENESS = 10
SHARE_OF_MEMORY = 0.75
"""Of the memory that there is, which a training may have."""
LOOK_S = 1.0
"""Seconds between two looks at what it takes."""
FIRST = "studio"
"""Name of a model that nobody had before."""
PROPOSAL = "proposal.json"


class _StoppedError(Exception):
    """Somebody asked to stop."""


class _FailedError(Exception):
    """A step did not do what it should; a sentence."""


class Trainings:
    """One training at a time, and what it proposes."""

    def __init__(self, models: ModelRegistry, folder: Path, minutes: float) -> None:
        self._models, self._folder, self.minutes = models, folder, minutes
        most = models.settings.max_train_mb
        self._most_bytes = int(SHARE_OF_MEMORY * memory_here() if most is None else most * 1e6)
        self._lock = threading.Lock()
        self._task: TrainingTask | None = None
        self._process: subprocess.Popen[str] | None = None
        self._root = folder / ASIDE / TRAINING
        remove_dead(self._root)
        atexit.register(self.stop)

    @classmethod
    def offered(cls, models: ModelRegistry) -> Self | None:
        """As the settings say; None where they offer none."""
        settings = models.settings
        folder = settings.drawn_folder
        return (
            cls(models, folder, settings.train_minutes)
            if folder and settings.train_minutes
            else None
        )

    def current(self) -> TrainingTask | None:
        """The last one that was ordered."""
        return self._task

    def start(self, name: str | None, request: Mapping[str, Any], **chosen: Any) -> TrainingTask:
        """Begin to train the model of a name, or the default one, or the first one.

        Args:
            name: of the model.
            request: as it came, for whoever asks again.
            chosen: fields of `TrainingTask`.

        Raises:
            Problem: 429, one is running; 409, there is no folder that a new version may lie in, or
                nothing is done that it could learn of; 404 and 422, no such model.
        """
        if self._models.settings.models is None:
            raise Problem(
                409,
                "a trained model needs a folder of models to lie in: SEG_MODELS=DIR names one",
            )
        folder = StudioFolder(self._folder)
        check_done(self._folder, len(folder.images().keys() & folder.masks().keys()))
        is_first = name is None and not self._models.versions()
        version = None if is_first else self._models.choose(name)
        chosen = {"minutes": self.minutes, **chosen}
        with self._lock:
            if self._task is not None and self._task.status == "RUNNING":
                raise Problem(429, "a training is running; stop it first, or wait")
            self._task = task = TrainingTask(version, request, **chosen)
        threading.Thread(target=self._run, args=(task,), name="training", daemon=True).start()
        return task

    def stop(self) -> TrainingTask | None:
        """Stop what runs; the model that answers stays."""
        with self._lock:
            task = self._task
            if task is None or task.status != "RUNNING":
                return None
            task.status = "STOPPED"
            task.details.append("stopped; nothing came of it, and the models are as they were")
            if self._process is not None:
                self._process.terminate()
        return task

    def proposal(self) -> dict[str, Any] | None:
        """What the last training proposes; None where nothing waits for an answer."""
        try:
            found: dict[str, Any] = json.loads((self._proposed / PROPOSAL).read_bytes())
        except (OSError, ValueError):
            return None
        return found

    def report(self) -> str:
        """Of the proposal, as Markdown.

        Raises:
            Problem: 404, nothing is proposed.
        """
        try:
            return (self._proposed / "report.md").read_text(encoding="utf-8")
        except OSError:
            raise Problem(404, "nothing is proposed now") from None

    def decide(self, accept: bool) -> ModelVersion | None:
        """Let the proposed model answer, or forget it.

        Raises:
            Problem: 404, nothing is proposed; 409, the model cannot answer here.
        """
        with self._lock:
            found = self.proposal()
            if found is None:
                raise Problem(404, "nothing is proposed now")
            version = None
            if accept:
                try:
                    version = self._taken(found["name"], self._proposed / found["package"])
                except _FailedError as error:
                    raise Problem(409, str(error)) from None
            shutil.rmtree(self._proposed, ignore_errors=True)
        return version

    @property
    def _proposed(self) -> Path:
        return self._folder / ASIDE / "proposal"

    def _run(self, task: TrainingTask) -> None:
        try:
            with training_folder(self._root, task.id) as folder:
                told = self._trained(task, folder)
            task.details.append(told)
            self._end(task, "DONE")
        except _StoppedError:
            self._end(task, "STOPPED")
        except (_FailedError, SegError, NotReadyError) as error:
            task.details.append(str(error))
            self._end(task, "ERROR")
        except Exception as error:
            LOGGER.error("error", extra={"fields": where_it_failed(error)})
            task.details.append("the training failed; the service's log says where")
            self._end(task, "ERROR")

    def _end(self, task: TrainingTask, status: TrainingState) -> None:
        task.ended = datetime.now(UTC)
        task.status = "STOPPED" if task.status == "STOPPED" else status
        LOGGER.info("training ended", extra={"fields": {"status": task.status}})

    def _trained(self, task: TrainingTask, folder: Path) -> str:
        """What became of it."""
        out, data = folder / "out", str(self._folder)
        length = ["--minutes", f"{task.minutes:g}"]
        length = length if task.steps is None else ["--steps", str(task.steps)]
        if task.version is None:
            task.details.append("the first model is trained")
            self._command(task, ["training.fit", data, "--out", str(out), *length], folder)
            version = self._taken(FIRST, out / "package")
            named = f"the model {version.label} answers now, the first model of this folder"
            return f"{named}{_scores(out)}"
        label = task.version.label
        task.details.append(f"the model {label} is trained on and compared on held-back images")
        before = ["--from", str(task.version.folder)]
        self._command(task, ["training.improve", data, *before, "--out", str(out), *length], folder)
        found = json.loads((out / PROPOSAL).read_text(encoding="utf-8"))
        if found["decision"] == "not better":
            return f"the model {label} answers still: {found['says']}"
        name = task.version.card.name
        if task.promotes and found["decision"] == "better":
            version = self._taken(name, out / found["package"])
            return f"the model {version.label} answers now: {found['says']}"
        with self._lock:
            _check_not_stopped(task)
            shutil.rmtree(self._proposed, ignore_errors=True)
            replace_file(
                out / PROPOSAL, json.dumps({**found, "name": name, "before": label}).encode()
            )
            out.replace(self._proposed)
        return f"a new model waits for somebody to agree: {found['says']}"

    def _taken(self, name: str, package: Path) -> ModelVersion:
        """The new version under that name; it answers."""
        root = self._models.settings.models
        assert root is not None
        card = read_card(package).model_copy(update={"name": name})
        staged = Path(tempfile.mkdtemp(prefix=ARRIVING, dir=root))
        try:
            shutil.copytree(package, staged, dirs_exist_ok=True)
            write_card(staged, card)
            version = self._models.adopt(staged, root / folder_name(card.name, card.version))
        except Problem as problem:
            raise _FailedError(problem.detail) from None
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        if version.state != "proven":
            self._models.remove(version)
            raise _FailedError(f"the new model cannot answer: {version.reason}")
        if self._models.rules.of(name).pinned is not None:  # somebody went back before
            self._models.rules.change(
                name, lambda rule: rule.model_copy(update={"pinned": version.card.version})
            )
        return version

    def _command(self, task: TrainingTask, arguments: Sequence[str], folder: Path) -> None:
        """Run a command; what it says goes to nobody but whoever ordered the training."""
        log = folder / "log.txt"
        with self._lock, log.open("w+", encoding="utf-8") as output:
            _check_not_stopped(task)
            self._process = subprocess.Popen(
                [sys.executable, "-m", training_process.__name__, str(os.getpid()), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TQDM_DISABLE": "1"},
                text=True,
            )
        _be_nice(self._process.pid)
        status = self._status(self._process, folder)
        _check_not_stopped(task)
        if status:
            said = log.read_text(encoding="utf-8", errors="replace")
            places = {folder: "the training's folder", self._folder: "the studio's folder"}
            if task.version is not None:
                places[task.version.folder] = f"the model {task.version.label}"
            raise _FailedError(last_words(said, arguments[0], places))

    def _status(self, process: subprocess.Popen[str], folder: Path) -> int:
        """How it ended; it is ended where it takes more memory or disk than it may."""
        most_mb = self._models.settings.max_train_disk_mb
        most_written = free_at(folder) // SHARE if most_mb is None else int(most_mb * 1e6)
        family = psutil.Process(process.pid)
        while True:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(LOOK_S)
            for taken, most, what, name in (
                (family_bytes(family), self._most_bytes, "memory", "SEG_MAX_TRAIN_MB"),
                (bytes_in(folder), most_written, "disk", "SEG_MAX_TRAIN_DISK_MB"),
            ):
                if taken > most:
                    _end_family(process, family)
                    raise _FailedError(
                        f"the training takes more {what} than the {most / 1e6:,.0f} MB that it may "
                        f"have here; smaller images or fewer of them take less, {name} allows more"
                    )


def _end_family(process: subprocess.Popen[str], family: psutil.Process) -> None:
    for each in reversed(family_of(family)):
        with suppress(psutil.Error):
            each.kill()
    process.wait()


def _scores(run: Path) -> str:
    """What it scored on images that were held back, in words; nothing where that cannot be said."""
    try:
        read = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        dice = [f"{name} {each['dice']:.2f}" for name, each in read["summary"].items()]
        cases = len(read["cases"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    images = "image" if cases == 1 else "images"
    return f"; Dice on {cases} held-back {images}: {', '.join(dice)}"


def _check_not_stopped(task: TrainingTask) -> None:
    if task.status == "STOPPED":
        raise _StoppedError


def _be_nice(process: int) -> None:
    if sys.platform == "linux":
        try:
            os.setpriority(os.PRIO_PROCESS, process, NICENESS)
        except OSError:  # it has ended already
            return
