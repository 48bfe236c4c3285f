"""What ``python -m seg.predict`` does, and what it says meanwhile."""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from seg.errors import ConfigError, DatasetError
from seg.held_folders import held
from seg.images.outlines.roi import read_roi
from seg.inference import Selection, outputs_for
from seg.inference.backends.ways import way_of
from seg.inference.object_files import rows_in
from seg.model_package import ModelCard, ModelPackage
from seg.objects.measurements import object_columns
from seg.predict.archives import DICOM, RemoteInputs, check_storable, say_not_stored, split_inputs
from seg.predict.asked import CaseWork, PredictionJob, files_of
from seg.predict.cases import CaseSearch, PredictionCase, find_cases, left_out
from seg.predict.long_table import LongTable
from seg.predict.outcome import SETTINGS, Outcome, counted_in
from seg.predict.overlapped import run_here
from seg.predict.plate import Plate, PlateLayout, write_label_plates
from seg.predict.ray_cluster import run_on_ray
from seg.predict.tables import Table
from seg.predict.work import Worker

QUALITY_FILE = "quality.csv"
MEASUREMENTS_FILE = "measurements.csv"
LEFT_OUT = 3
"""The status that says so."""
EACH_SERIES = "all"
MOST_NAMED = 10
"""Files that a message names."""
OBJECTS_FILE = "objects.csv"
PLATE_FILE = "plate.csv"
LABEL_IMAGES = "instances-zarr"
"""Of which a plate is made."""
STORED_FORMAT = "dicom-seg"
LOCK = ".predict.lock"
"""A file that lies among masks while they are written."""
STALE = "what lies there of it is of an earlier run"
DEFAULT_FORMAT = {2: "png", 3: "nifti"}


def predict_all(options: argparse.Namespace) -> int:
    """Segment all that is named; the status of the command.

    Raises:
        SegError: package, options or inputs do not go together.
    """
    with tempfile.TemporaryDirectory() as folder:
        if options.out is None:
            if not options.store:
                raise ConfigError("name a folder for the masks: --out DIR")
            options.out = Path(folder)
        card = ModelPackage.load(options.package).card
        paths, addresses = split_inputs(options.inputs)
        if options.store and not options.format and addresses:
            options.format = [STORED_FORMAT]
        work = _work(options, card)
        if options.store:
            outputs = outputs_for(card.input.dims)
            check_storable(paths, {name: outputs[name].media_type for name in work.formats})
        if not addresses:
            return _predicted(options, card, work).status
        remote = RemoteInputs(addresses, options.credentials, work.out)
        options.inputs = [*paths, *map(str, remote.fetch())]
        done = _predicted(options, card, work)
        failures = remote.store(done.to_store(work, card)) if options.store else {}
        say_not_stored(failures)
        if failures or done.failures:
            return 1
        remote.forget()
        return done.status


@dataclass(frozen=True)
class _Predicted:
    """What became of a run."""

    cases: Sequence[PredictionCase]
    failures: Sequence[Outcome]
    missed: Sequence[Path]

    @property
    def status(self) -> int:
        """Of the command."""
        return 1 if self.failures else LEFT_OUT if self.missed else 0

    def to_store(self, work: CaseWork, card: ModelCard) -> dict[str, list[Path]]:
        """The files of DICOM of all cases that did not fail."""
        dims = card.input.dims
        failed = {outcome.case for outcome in self.failures}
        return {
            case.name: [
                path
                for name, path in files_of(work, case, dims).items()
                if outputs_for(dims)[name].media_type == DICOM
            ]
            for case in self.cases
            if case.name not in failed
        }


def _predicted(options: argparse.Namespace, card: ModelCard, work: CaseWork) -> _Predicted:
    search = CaseSearch(
        channels=len(card.input.channels),
        dims=card.input.dims,
        recursive=options.recursive,
        out=options.out,
        series=None if options.series in (None, EACH_SERIES) else options.series,
        each=options.each,
    )
    plate = _plate(options, card, work)
    cases = find_cases(options.inputs, search)
    if plate is not None:
        plate.check([case.name for case in cases])
    missed = left_out(options.inputs, search)
    with held(work.out, work.out / LOCK):  # each would leave the rows of the other out of tables
        failures = _segmented(options, card, work, cases, missed, plate)
    if missed:
        _say(_left_out_in_words(missed))
    return _Predicted(cases, failures, missed)


def _segmented(
    options: argparse.Namespace,
    card: ModelCard,
    work: CaseWork,
    cases: Sequence[PredictionCase],
    missed: Sequence[Path],
    plate: Plate | None,
) -> list[Outcome]:
    """Masks and tables; those that failed."""
    quality = Table(work.out / QUALITY_FILE)
    tables: dict[str, Table | LongTable] = {"quality": quality}
    if work.measurements:
        tables["measurements"] = Table(work.out / MEASUREMENTS_FILE)
    quality.leave_out({str(path): "no image that is read" for path in missed})
    if any(outputs_for(card.input.dims)[name].of_objects for name in work.formats):
        columns = object_columns(card.input.dims, len(card.input.channels))
        tables["objects"] = LongTable(work.out / OBJECTS_FILE, columns)
    _keep_inputs(cases, work, card.input.dims)
    settings = work.settings(card)
    made_of = {case.name: f"{settings}-{case.state}" for case in cases}

    def may_be_done(name: str) -> bool:
        same = quality.says(name, SETTINGS) == made_of[name]
        return same and _is_in_all(name, tables)

    jobs = [PredictionJob(case, not options.overwrite and may_be_done(case.name)) for case in cases]
    if options.ray is None:
        worker = Worker(work)
        way = way_of(worker.predictor.backend)
        _say(f"the network runs on {worker.predictor.backend.provider}, in {way.precision}")
        if work.mirror and len(card.mirrors) < card.input.dims:
            along = ", ".join("zyx"[-card.input.dims :][axis] for axis in card.mirrors)
            _say(f"mirrored along {along} only, as the package allows")
        outcomes: Iterator[Outcome] = run_here(worker, jobs)
    else:
        outcomes = run_on_ray(work, jobs, options.ray or None)
    try:
        failures = _followed(outcomes, made_of, tables)
    finally:
        for table in tables.values():
            table.save()
    if plate is not None:
        files = {case.name: files_of(work, case, card.input.dims) for case in cases}
        _write_plate(plate, files, failures, tables, work.out)
    return failures


def _is_in_all(case: str, tables: Mapping[str, Table | LongTable]) -> bool:
    """Tables are saved one after another, so a run that was killed has rows in some only."""
    counted = counted_in(next(iter(tables["quality"].rows_of(case)), {}))
    return all(
        table.count_of(case) == counted if isinstance(table, LongTable) else case in table
        for table in tables.values()
    )


def _plate(options: argparse.Namespace, card: ModelCard, work: CaseWork) -> Plate | None:
    if options.plate is None:
        return None
    if not any(outputs_for(card.input.dims)[name].of_objects for name in work.formats):
        raise ConfigError("--plate adds objects up: ask for them, as with --format instances")
    return Plate(PlateLayout(Path(options.plate)) if options.plate else None)


def _write_plate(
    plate: Plate,
    files: Mapping[str, Mapping[str, Path]],
    failures: Sequence[Outcome],
    tables: Mapping[str, Table | LongTable],
    out: Path,
) -> None:
    failed = {outcome.case for outcome in failures}
    for case in files:
        if case in failed:
            plate.put_failed(case)
        else:
            counts = next(iter(tables["quality"].rows_of(case)), {})
            plate.put(case, counts, tables["objects"].rows_of(case))
    plate.write(out / PLATE_FILE)
    label_images = {
        case: formats[LABEL_IMAGES] for case, formats in files.items() if LABEL_IMAGES in formats
    }
    write_label_plates(label_images, failed, out)
    if plate.repeated:
        _say(
            f"{plate.repeated.first} and {plate.repeated.second} are {plate.repeated.kind} of one "
            "field by their names: a well's objects are those of all of them, and a cell that "
            "several show counts as often"
        )
    if plate.without_well:
        named = ", ".join(plate.without_well[:MOST_NAMED])
        count = len(plate.without_well)
        _say(f"{count} images tell no well such as B03, so no row has them: {named}")


def _left_out_in_words(missed: Sequence[Path]) -> str:
    endings = Counter(path.suffix for path in missed)
    counted = ", ".join(f"{count} {ending}" for ending, count in sorted(endings.items()))
    named = ", ".join(path.name for path in missed[:MOST_NAMED])
    more = ", ..." if len(missed) > MOST_NAMED else ""
    files = "1 file" if len(missed) == 1 else f"{len(missed)} files"
    return f"{files} left out ({counted}), no images that are read: {named}{more}"


def _work(options: argparse.Namespace, card: ModelCard) -> CaseWork:
    dims = card.input.dims
    formats = tuple(dict.fromkeys(options.format or [DEFAULT_FORMAT[dims]]))
    for name in formats:
        if name not in outputs_for(dims):
            fitting = ", ".join(outputs_for(dims))
            raise ConfigError(f"{name} holds no {dims}D masks; choose one of {fitting}")
    selection = Selection(
        classes=tuple(options.classes),
        threshold=options.threshold,
        split=options.split,
        region=read_roi(options.region) if options.region else None,
    )
    selection.check(card)
    if options.mpp is not None and dims != 2:
        raise ConfigError(
            "--mpp is of pictures, and this model segments volumes, which it resamples by itself"
        )
    if selection.split and not any(outputs_for(dims)[name].of_objects for name in formats):
        raise ConfigError("--split is of objects: ask for them too, as with --format instances")
    return CaseWork(
        package=options.package.resolve(),
        out=options.out.resolve(),
        formats=formats,
        variant=options.variant,
        provider=options.provider,
        precision=options.precision,
        overlap=options.overlap,
        threads=options.threads,
        mirror=options.mirror,
        measurements=options.measurements,
        all_windows=options.all_windows,
        selection=selection,
        mpp=options.mpp,
    )


def _keep_inputs(cases: Iterable[PredictionCase], work: CaseWork, dims: int) -> None:
    """No mask takes the place of an image, or of a table."""
    taken = {file.resolve(): file for case in cases for file in case.files}
    tables = [
        work.out / name for name in (QUALITY_FILE, MEASUREMENTS_FILE, OBJECTS_FILE, PLATE_FILE)
    ]
    for case in cases:
        for target in files_of(work, case, dims).values():
            if target in taken or target in tables:
                raise DatasetError(
                    f"the mask of {case.name} would overwrite {taken.get(target, target)}; name "
                    "another folder with --out"
                )


def _followed(
    outcomes: Iterable[Outcome],
    made_of: Mapping[str, str],
    tables: Mapping[str, Table | LongTable],
) -> list[Outcome]:
    """Take all outcomes in, with a bar that tells how far it is; those that failed."""
    failures: list[Outcome] = []
    skipped, total = 0, len(made_of)
    with tqdm(total=total, unit="image", disable=None) as bar:
        for outcome in outcomes:
            bar.update()
            for sentence in outcome.warnings:
                tqdm.write(f"warning: {outcome.case}: {sentence}", file=sys.stderr)
            if outcome.failure is not None:
                failures.append(_without_rows(outcome, tables))
                bar.set_postfix(failed=len(failures))
            elif outcome.is_skipped:
                skipped += 1
            else:
                _taken_over(outcome, made_of[outcome.case], tables)
    done = total - skipped - len(failures)
    _say(
        f"{done} segmented"
        + (f", {skipped} were finished before" if skipped else "")
        + (f", {len(failures)} failed:" if failures else "")
    )
    for failure in failures:
        _say(f"failed: {failure.case}: {failure.failure}")
    return failures


def _without_rows(outcome: Outcome, tables: Mapping[str, Table | LongTable]) -> Outcome:
    """The failure; what an earlier run knew of the case is no longer told."""
    if not any(tables["quality"].rows_of(outcome.case)):
        return outcome
    for table in tables.values():
        table.put(outcome.case, ())
    return replace(outcome, failure=f"{outcome.failure} ({STALE})")


def _taken_over(outcome: Outcome, made_of: str, tables: Mapping[str, Table | LongTable]) -> None:
    rows = {
        "quality": [{**outcome.quality, SETTINGS: made_of}],
        "measurements": outcome.measurements,
        "objects": outcome.objects,
    }
    for name, table in tables.items():
        if isinstance(table, LongTable) and outcome.object_file is not None:
            table.put(outcome.case, rows_in(outcome.object_file))
            outcome.object_file.unlink()
        else:
            table.put(outcome.case, rows[name])


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201
