"""One case, from its files to its mask: what every thread, process and machine does alike."""

import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from seg.errors import ImageTooLargeError
from seg.files import replace_file
from seg.images import (
    STREAMED_FORMATS,
    Image,
    ImageSource,
    read_channels,
    read_frame,
    stays_in_file,
)
from seg.images.dicom.source import headers_of
from seg.images.grid.units import MM
from seg.inference import (
    MapName,
    Predictor,
    Quality,
    Segmentation,
    WindowCounts,
    encode_output,
    load_backend,
    measurement_rows,
    outputs_for,
    predict_files,
    voices_of,
    written_together,
)
from seg.inference.backends.ways import way_of
from seg.inference.object_files import ROWS, predict_objects_file
from seg.inference.resolution import open_at
from seg.inference.trust.disagreement import check_several
from seg.inference.trust.quality import QualityMeter
from seg.inference.unfinished import Unfinished
from seg.model_package import ModelCard, ModelPackage
from seg.objects import STREAMED_OBJECT_FORMATS, Count, Objects, measure_objects
from seg.predict.archives import DICOM
from seg.predict.asked import CaseWork, PredictionJob, files_of
from seg.predict.cases import PredictionCase
from seg.predict.outcome import Outcome, counts_row, failed, quality_row
from seg.predict.tables import Row
from seg.predict.whole import is_whole
from seg.tables.comma_separated import read_csv
from seg.transforms import at_resolution
from seg.transforms.resolution import in_memory

NOT_TOLD_APART = "the model tells no objects apart: those of one class that touch are one object"


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
        self.settings = work.settings(package.card)
        backend = load_backend(
            package,
            work.variant,
            work.provider,
            threads=work.threads,
            precision=work.precision,
        )
        self.outputs = outputs_for(package.card.input.dims)
        maps = (self.outputs[name].map for name in work.formats)
        self.maps: frozenset[MapName] = frozenset(each for each in maps if each)
        self.of_dicom = any(self.outputs[name].media_type == DICOM for name in work.formats)
        self.with_objects = any(self.outputs[name].of_objects for name in work.formats)
        lesser = "disagreement" in self.maps and work.variant is None
        voices = voices_of(package, work.provider, work.threads) if lesser else []
        self.predictor = Predictor(
            package.as_variant(work.variant),
            backend,
            mirror=work.mirror,
            voices=voices,
            skip_empty=not work.all_windows,
            selection=work.selection,
            overlap=work.overlap,
        )
        self.card: ModelCard = self.predictor.package.card
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
        if not isinstance(image, Streamed) and self.of_dicom:
            headers_of(image)  # else the network would run for what cannot be written
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
            quality={**row, **counts_row(found.counts)},
            object_file=rows,
        )

    def _identity(self, case: PredictionCase) -> str:
        """Of all that decides what is known of a slide's voxels, for a run that goes on."""
        way = way_of(self.predictor.backend)
        told = (self.settings, self.predictor.backend.provider, way, self.predictor.overlap)
        return sha256(f"{case.state}{told}".encode()).hexdigest()

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
                rows = list(read_csv(io.StringIO(table.read_text(encoding="utf-8"))))
        with self._opened(case) as source:
            warnings = (*source.notes, *self.predictor.warnings(source))
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
        files = files_of(self.work, case, image.dims)
        # all before the first is written: a format that refuses leaves none of the others behind
        encoded = {
            target: encode_output(found, self.outputs[name], image)
            for name, target in files.items()
        }
        for target, content in encoded.items():
            replace_file(target, content)
        rows: list[Row] = []
        if self.work.measurements:
            rows += measurement_rows(found, image)
        return Outcome(
            case.name,
            warnings=found.quality.warnings + self._about_objects(found.objects),
            quality={**self._quality_row(found.quality, found.windows), **counts_row(counts)},
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
        precision, overlap = way_of(self.predictor.backend).precision, self.predictor.overlap
        return quality_row(quality, windows, precision=precision, overlap=overlap)
