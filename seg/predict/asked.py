"""What is done with every case: plain data that can travel to other machines."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from seg.inference import AskedPrecision, Provider, Selection, outputs_for
from seg.inference.labels.selection import EVERYTHING
from seg.model_package import ModelCard
from seg.predict.cases import PredictionCase


@dataclass(frozen=True, kw_only=True)
class CaseWork:
    """What is done with every case; plain data that can travel to other machines."""

    package: Path
    out: Path
    formats: tuple[str, ...]
    """Of ``OUTPUT_NAMES``."""
    variant: str | None = None
    provider: Provider = "auto"
    precision: AskedPrecision = "auto"
    overlap: float | None = None
    """None is the package's."""
    threads: int | None = None
    mirror: bool = False
    measurements: bool = False
    all_windows: bool = False
    """Also those that the package knows to be empty."""
    selection: Selection = EVERYTHING
    mpp: float | None = None
    """Micrometres a pixel at which pictures are segmented; None is the file's own."""

    def settings(self, card: ModelCard) -> str:
        """A short hash of all that decides what a mask shows; where it is made decides nothing."""
        decides = (self.variant, self.mirror, self.all_windows, self.selection)
        # what decides nothing here is left out, so that runs of older packages go on
        silent: dict[str, bool | dict[str, bool]] = {}
        if not self.selection.split:
            silent["splitting"] = True
        if card.instances and card.instances.splitting is None:
            silent["instances"] = {"splitting": True}
        if card.faster_ways is None:
            silent["faster_ways"] = True
        told = card.model_dump_json(exclude=silent)
        asked = "split" * self.selection.split + str(self.selection.region or "")
        if self.mpp is not None:
            asked += f"mpp{self.mpp}"
        if self.precision != "auto" or self.overlap is not None:
            asked += f"{self.precision}{self.overlap}"
        return sha256(f"{told}{decides}{asked}".encode()).hexdigest()[:12]


@dataclass(frozen=True)
class PredictionJob:
    """A case, and whether it may have been done before."""

    case: PredictionCase
    may_be_done: bool = False


def files_of(work: CaseWork, case: PredictionCase, dims: int) -> dict[str, Path]:
    """Format to file; a format whose suffix an earlier one has puts its name before it."""
    outputs = outputs_for(dims)
    files: dict[str, Path] = {}
    for name in work.formats:
        target = work.out / (case.name + outputs[name].suffix)
        if target in files.values():
            target = work.out / f"{case.name}.{name}{outputs[name].suffix}"
        files[name] = target
    return files
