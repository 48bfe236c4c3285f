"""The folder of a run."""

from dataclasses import dataclass
from pathlib import Path

from seg.errors import ConfigError

FOLD = "fold-"
"""Name of a fold's folder, followed by its number from 0."""


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps what."""

    path: Path

    @property
    def plan(self) -> Path:
        """The plan, the first file of a run."""
        return self.path / "plan.yaml"

    def check_begun(self) -> None:
        """Pass where a training has begun here.

        Raises:
            ConfigError: none has.
        """
        if not self.plan.is_file() or not self.fingerprint.is_file():
            raise ConfigError(
                f"{self.path} holds no run that has begun to train (no plan.yaml); start it anew"
            )

    @property
    def candidates(self) -> Path:
        """What the plan was chosen from."""
        return self.path / "candidates.csv"

    @property
    def fingerprint(self) -> Path:
        """The data in numbers."""
        return self.path / "fingerprint.json"

    @property
    def cache(self) -> Path:
        """Preprocessed cases, which folds share; may be removed when the run is finished."""
        return self._shared / "cache"

    @property
    def data(self) -> Path:
        """What the data were when the run began, which folds share."""
        return self._shared / "data.json"

    @property
    def _shared(self) -> Path:
        is_fold = self.path.name.startswith(FOLD) and (self.path.parent / "plan.yaml").is_file()
        return self.path.parent if is_fold else self.path

    @property
    def package(self) -> Path:
        """The model package."""
        return self.path / "package"

    @property
    def metrics(self) -> Path:
        """Scores on the held-back cases."""
        return self.path / "metrics.json"

    @property
    def model_card(self) -> Path:
        """The model card for people."""
        return self.path / "MODEL_CARD.md"

    @property
    def report(self) -> Path:
        """The report; the last file of a run."""
        return self.path / "report.html"

    @property
    def predictions(self) -> Path:
        """Predicted masks of the held-back cases."""
        return self.path / "predictions"

    def fold(self, number: int) -> "RunFolder":
        """The run of one fold."""
        return RunFolder(self.path / f"{FOLD}{number}")


def run_of(path: Path) -> RunFolder:
    """The run that a path names: its folder, or a checkpoint in it."""
    return RunFolder(path.parent if path.is_file() else path)
