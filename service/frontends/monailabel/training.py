"""Training as MONAI Label's clients order it: the package that answers is trained on.

``training.fit`` and ``training.compare`` run as processes of their own, on what people have drawn
in ``SEG_STUDIES``. The new package answers only where it is better on images that neither it nor
the one before has learned from.
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
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any, Literal
from uuid import uuid4

from seg.errors import SegError
from seg.model_package import read_card, write_card
from service.errors import NotReadyError
from service.frontends.monailabel.studies import ASIDE
from service.models.arrival import ARRIVING, folder_name
from service.models.registry import ModelRegistry
from service.models.versions import ModelVersion
from service.observability.logs import LOGGER, where_it_failed
from service.problems.response import Problem

TrainingState = Literal["RUNNING", "DONE", "ERROR", "STOPPED"]
NICENESS = 10
LONGEST_DETAIL = 300
"""Letters of what a command said last."""


@dataclass
class TrainingTask:
    """A training that was ordered."""

    version: ModelVersion
    request: Mapping[str, Any]
    id: str = field(default_factory=lambda: str(uuid4()))
    status: TrainingState = "RUNNING"
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended: datetime | None = None
    details: list[str] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """As clients read it."""
        return {
            "id": self.id,
            "status": self.status,
            "request": dict(self.request),
            "start_ts": _clock(self.started),
            "end_ts": None if self.ended is None else _clock(self.ended),
            "details": self.details,
        }


class _StoppedError(Exception):
    """Somebody asked to stop."""


class _FailedError(Exception):
    """A step did not do what it should; a sentence."""


class Trainings:
    """One training at a time."""

    def __init__(self, models: ModelRegistry, studies: Path, minutes: float) -> None:
        self._models, self._studies, self._minutes = models, studies, minutes
        self._lock = threading.Lock()
        self._task: TrainingTask | None = None
        self._process: subprocess.Popen[str] | None = None
        atexit.register(self.stop)

    def current(self) -> TrainingTask | None:
        """The last one that was ordered."""
        return self._task

    def start(self, name: str | None, request: Mapping[str, Any]) -> TrainingTask:
        """Begin to train the model of a name, or the default one.

        Raises:
            Problem: 429, one is running; 409, there is no folder that a new version may lie in; 404
                and 422, no such model.
        """
        if self._models.settings.models is None:
            raise Problem(
                409,
                "a trained model needs a folder of models to lie in: SEG_MODELS=DIR names one",
            )
        version = self._models.choose(name)
        with self._lock:
            if self._task is not None and self._task.status == "RUNNING":
                raise Problem(429, "a training is running; stop it first, or wait")
            self._task = task = TrainingTask(version, request)
        threading.Thread(target=self._run, args=(task,), name="training", daemon=True).start()
        return task

    def stop(self) -> TrainingTask | None:
        """Stop what runs; the model that answers stays."""
        with self._lock:
            task = self._task
            if task is None or task.status != "RUNNING":
                return None
            task.status = "STOPPED"
            if self._process is not None:
                self._process.terminate()
        return task

    def _run(self, task: TrainingTask) -> None:
        folder = self._studies / ASIDE / "training" / task.id
        try:
            folder.mkdir(parents=True)
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
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _end(self, task: TrainingTask, status: TrainingState) -> None:
        task.ended = datetime.now(UTC)
        task.status = "STOPPED" if task.status == "STOPPED" else status
        LOGGER.info("training ended", extra={"fields": {"status": task.status}})

    def _trained(self, task: TrainingTask, folder: Path) -> str:
        """What became of it."""
        before, run, scores = task.version.folder, folder / "run", folder / "comparison.json"
        task.details.append(f"{task.version.label} is trained for {self._minutes:g} minutes")
        data = str(self._studies)
        fit = ["training.fit", data, "--from", str(before), "--out", str(run)]
        self._command(task, [*fit, "--minutes", f"{self._minutes:g}"], folder)
        task.details.append("the new model is compared with the one before on held-back images")
        after = run / "package"
        self._command(
            task, ["training.compare", str(before), str(after), data, "--out", str(scores)], folder
        )
        is_better, figures = verdict(json.loads(scores.read_text(encoding="utf-8")))
        if not is_better:
            return f"{task.version.label} answers still, the new model is not better: {figures}"
        version = self._taken(task, after)
        return f"{version.label} answers now: {figures}"

    def _taken(self, task: TrainingTask, package: Path) -> ModelVersion:
        """The new version, under the name of the one before."""
        root = self._models.settings.models
        assert root is not None
        card = read_card(package).model_copy(update={"name": task.version.card.name})
        staged = Path(tempfile.mkdtemp(prefix=ARRIVING, dir=root))
        try:
            shutil.copytree(package, staged, dirs_exist_ok=True)
            write_card(staged, card)
            version = self._models.adopt(staged, root / folder_name(card.name, card.version))
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        if version.state != "proven":
            self._models.remove(version)
            raise _FailedError(f"the new model cannot answer: {version.reason}")
        return version

    def _command(self, task: TrainingTask, arguments: Sequence[str], folder: Path) -> None:
        """Run a command; what it says goes to nobody but whoever ordered the training."""
        log = folder / "log.txt"
        with self._lock, log.open("w+", encoding="utf-8") as output:
            _check_not_stopped(task)
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TQDM_DISABLE": "1"},
                text=True,
            )
        _be_nice(self._process.pid)
        status = self._process.wait()
        _check_not_stopped(task)
        if status:
            said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            last = said[-1][:LONGEST_DETAIL] if said else f"status {status}"
            raise _FailedError(f"{arguments[0]}: {last}")


def _check_not_stopped(task: TrainingTask) -> None:
    if task.status == "STOPPED":
        raise _StoppedError


def verdict(comparison: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether the second package of a ``comparison.json`` is better, and the figures.

    It is where the Dice of its classes is higher in the mean, and that of none of them is lower
    beyond doubt.
    """
    dice = [each for each in comparison["differences"] if each["measure"] == "dice"]
    if not dice:
        return False, "no class can be scored"
    before, after = (fmean(each[f"mean_{which}"] for each in dice) for which in "ab")
    is_worse = any(each["difference"]["ci95"][1] < 0 for each in dice)
    cases = len(comparison["cases"])
    figures = f"mean Dice {before:.3f} before, {after:.3f} after, on {cases} held-back images"
    return after > before and not is_worse, figures


def _clock(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


def _be_nice(process: int) -> None:
    if sys.platform == "linux":
        try:
            os.setpriority(os.PRIO_PROCESS, process, NICENESS)
        except OSError:  # it has ended already
            return
