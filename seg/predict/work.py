"""One case, from its files to its mask: what every thread, process and machine does alike."""

import csv
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from seg.errors import ImageTooLargeError, SegError
from seg.files import replace_file
from seg.images import (
    STREAMED_FORMATS,
    Image,
    ImageSource,
    encode_mask,
    read_channels,
    read_frame,
    stays_in_file,
)
from seg.images.grid.units import MM
from seg.inference import (
    AskedPrecision,
    MapName,
    Predictor,
    Provider,
    Quality,
    Segmentation,
    Selection,
    WindowCounts,
    encode_output,
    load_backend,
    outputs_for,
    predict_files,
    voices_of,
    written_together,
)
from seg.inference.backends.ways import way_of
from seg.inference.labels.selection import EVERYTHING
from seg.inference.object_files import ROWS, predict_objects_file
from seg.inference.resolution import open_at
from seg.inference.trust.disagreement import check_several
from seg.inference.trust.quality import QualityMeter
from seg.inference.unfinished import Unfinished
from seg.model_package import ModelCard, ModelPackage
from seg.objects import STREAMED_OBJECT_FORMATS, Count, Objects, measure_objects
from seg.predict.cases import PredictionCase
from seg.predict.tables import Row
from seg.predict.whole import is_whole
from seg.transforms import at_resolution
from seg.transforms.resolution import in_memory

NOT_TOLD_APART = "the model tells no objects apart: those of one class that touch are one object"
SETTINGS = "settings"
"""Column of the quality table: what the row's mask was made with."""


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


@dataclass(frozen=True)
class Outcome:
    """What became of a case."""

    case: str
    failure: str | None = None
    """A sentence; None where all went well."""
    is_skipped: bool = False
    """It was finished before."""
    warnings: tuple[str, ...] = ()
    quality: Row = field(default_factory=dict)
    measurements: Sequence[Row] = ()
    objects: Sequence[Row] = ()
    object_file: Path | None = None
    """Holds them where they are too many: a line of JSON each; it goes once they are taken over."""


@dataclass(frozen=True)
class Streamed:
    """An image that is too large for the memory and stays in its files."""

    files: tuple[Path, ...]


class Worker:
    """A loaded model and what is done with it."""

    def __init__(self, work: CaseWork) -> None:
        """Load the package.

        Raises:
            PackageError: it is damaged, or has no such variant.
            BackendError: it cannot run here.
            ConfigError: a map of disagreement was asked for of a single network.
        """
        self.work = work
        package = ModelPackage.load(work.package)
        self.card: ModelCard = package.card
        self.settings = work.settings(self.card)
        backend = load_backend(
            package,
            work.variant,
            work.provider,
            threads=work.threads,
            precision=work.precision,
        )
        package = package.as_variant(way_of(backend).variant or work.variant)
        self.card = package.card
        self.outputs = outputs_for(self.card.input.dims)
        maps = (self.outputs[name].map for name in work.formats)
        self.maps: frozenset[MapName] = frozenset(each for each in maps if each)
        self.with_objects = any(self.outputs[name].of_objects for name in work.formats)
        lesser = "disagreement" in self.maps and work.variant is None
        voices = voices_of(package, work.provider, work.threads) if lesser else []
        self.predictor = Predictor(
            package,
            backend,
            mirror=work.mirror,
            voices=voices,
            skip_empty=not work.all_windows,
            selection=work.selection,
            overlap=work.overlap,
        )
        if "disagreement" in self.maps:
            check_several(self.predictor.backend, voices)

    def run(self, job: PredictionJob) -> Outcome:
        """All steps; never raises for what is wrong with a case."""
        try:
            image = self.read(job)
            if image is None:
                return Outcome(job.case.name, is_skipped=True)
            return self.predict(job.case, image)()
        except Exception as error:
            return failed(job.case, error)

    def read(self, job: PredictionJob) -> Image | Streamed | None:
        """The image; None where its case is finished.

        Raises:
            ImageError: it is none, or too large for what is asked for.
        """
        if job.may_be_done and self._is_done(job.case):
            return None
        try:
            return self._image_of(job.case)
        except ImageTooLargeError as error:
            work = self.work
            if job.case.frame is not None or not all(map(stays_in_file, job.case.files)):
                raise
            of_objects = set(work.formats) <= set(STREAMED_OBJECT_FORMATS)
            if of_objects and not work.measurements:
                return Streamed(job.case.files)
            if not set(work.formats) <= set(STREAMED_FORMATS):
                objects = " or ".join(STREAMED_OBJECT_FORMATS)
                raise ImageTooLargeError(
                    f"{error}; with --format {' or '.join(STREAMED_FORMATS)} it may be larger, "
                    f"and with {objects}, without masks beside them"
                ) from error
            return Streamed(job.case.files)

    def _image_of(self, case: PredictionCase) -> Image:
        dims, mpp = self.card.input.dims, self.work.mpp
        if case.frame is not None:
            image = read_frame(case.files[0], case.frame, dims=dims)
            return image if mpp is None else in_memory(at_resolution(image, mpp * MM["um"]))
        if mpp is None:
            return read_channels(case.files, dims=dims, series=case.series)
        with self._opened(case) as source:
            return in_memory(source)

    def predict(self, case: PredictionCase, image: Image | Streamed) -> Callable[[], Outcome]:
        """Segment; what is left to do is to write, and is returned."""
        if isinstance(image, Streamed):
            outcome = self._stream_objects(case) if self.with_objects else self._stream(case)
            return lambda: outcome
        found = self.predictor.segment(image, maps=self.maps, with_objects=self.with_objects)
        return lambda: self._write(case, image, found)

    def _stream_objects(self, case: PredictionCase) -> Outcome:
        targets = {
            target: name for name, target in files_of(self.work, case, self.card.input.dims).items()
        }
        rows = next(iter(targets)).with_name(f".{Path(case.name).name}.rows")
        rows.parent.mkdir(parents=True, exist_ok=True)
        meter = QualityMeter(self.card, selection=self.work.selection)
        folder = rows.with_name(f".{Path(case.name).name}.unfinished")
        with Unfinished(folder, self._identity(case)) as unfinished:
            found = predict_objects_file(
                self.predictor,
                case.files,
                targets | {rows: ROWS},
                observe=meter,
                mpp=self.work.mpp,
                unfinished=unfinished,
            )
        warnings = found.warnings
        if not found.are_told_apart:
            warnings += (NOT_TOLD_APART,)
        quality = meter.quality(warnings, found.windows)
        row = self._quality_row(quality, found.windows)
        return Outcome(
            case.name,
            warnings=quality.warnings,
            quality={**row, **_counts(found.counts)},
            object_file=rows,
        )

    def _identity(self, case: PredictionCase) -> str:
        """Of all that decides what is known of a slide's voxels, for a run that goes on."""
        facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in case.files]
        way = way_of(self.predictor.backend)
        told = (self.settings, self.predictor.backend.provider, way, self.predictor.overlap)
        return sha256(f"{facts}{told}".encode()).hexdigest()

    def _opened(self, case: PredictionCase) -> AbstractContextManager[ImageSource]:
        return open_at(case.files, dims=self.card.input.dims, mpp=self.work.mpp)

    def _stream(self, case: PredictionCase) -> Outcome:
        files = files_of(self.work, case, self.card.input.dims)
        targets = {target: name for name, target in files.items()}
        meter = QualityMeter(self.card, selection=self.work.selection)
        rows: list[Row] = []
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "measurements.csv"
            if self.work.measurements:
                targets[table] = "csv"
            counts = predict_files(
                self.predictor, case.files, targets, observe=meter, mpp=self.work.mpp
            )
            if self.work.measurements:
                rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"))))
        with self._opened(case) as source:
            warnings = self.predictor.warnings(source)
        quality = meter.quality(warnings, counts)
        row = self._quality_row(quality, counts)
        return Outcome(case.name, warnings=quality.warnings, quality=row, measurements=rows)

    def _write(self, case: PredictionCase, image: Image, found: Segmentation) -> Outcome:
        found = written_together(found, self.work.formats)
        counts: Mapping[str, Count] = {}
        objects: Sequence[Row] = ()
        if found.objects is not None:  # of none, too: that there are 0 is known
            named = replace(found.objects, source=case.files[0].name)
            found = replace(found, objects=named)
            counts, objects = named.counts, measure_objects(named, image)
        for name, target in files_of(self.work, case, image.dims).items():
            replace_file(target, encode_output(found, self.outputs[name], image))
        rows: list[Row] = []
        if self.work.measurements:
            text = encode_mask(found.mask, "csv", found.classes, image).decode()
            rows = list(csv.DictReader(io.StringIO(text)))
        return Outcome(
            case.name,
            warnings=found.quality.warnings + self._about_objects(found.objects),
            quality={**self._quality_row(found.quality, found.windows), **_counts(counts)},
            measurements=rows,
            objects=objects,
        )

    def _about_objects(self, objects: Objects | None) -> tuple[str, ...]:
        if objects is None or objects.are_told_apart:
            return ()
        return (NOT_TOLD_APART,)

    def _is_done(self, case: PredictionCase) -> bool:
        files = files_of(self.work, case, self.card.input.dims)
        return all(is_whole(path, self.outputs[name], self.card) for name, path in files.items())

    def _quality_row(self, quality: Quality, windows: WindowCounts) -> Row:
        row: dict[str, str | int | float | None] = {
            "warnings": "; ".join(quality.warnings),
            "uncertainty": _rounded(quality.uncertainty),
            "windows": windows.total,
            "windows_skipped": windows.skipped,
            "precision": way_of(self.predictor.backend).precision,
            "overlap": self.predictor.overlap,
        }
        if quality.strangeness is not None:
            row["strangeness"] = _rounded(quality.strangeness)
        if quality.disagreement is not None:
            row["disagreement"] = _rounded(quality.disagreement)
        for name, dice in quality.predicted_dice.items():
            row[f"predicted_dice_{name}"] = _rounded(dice)
            row[f"expected_error_{name}"] = _rounded(quality.expected_error.get(name))
            if name in quality.interval:
                low, high = quality.interval[name]
                row[f"lowest_dice_{name}"], row[f"highest_dice_{name}"] = map(_rounded, (low, high))
        row[SETTINGS] = self.settings
        return row


def _counts(counts: Mapping[str, Count]) -> Row:
    """How many objects there are, with their interval where the model has one."""
    row: dict[str, str | int | float | None] = {}
    for name, count in counts.items():
        low, high = count.interval or (None, None)
        row |= {f"objects_{name}": count.found, f"low_{name}": low, f"high_{name}": high}
    return row


def failed(case: PredictionCase, error: Exception) -> Outcome:
    """An outcome that says in a sentence why there is no mask."""
    if isinstance(error, SegError):
        sentence = str(error)
    elif isinstance(error, OSError):
        sentence = error.strerror or str(error)
    elif isinstance(error, MemoryError):
        sentence = "not enough memory"
    else:
        sentence = f"unexpected {type(error).__name__}, please report it: {error}"
    return Outcome(case.name, failure=sentence)


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


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
