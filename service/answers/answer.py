"""From images to the answer, which is one file or a container of several.

``POST /segment`` and jobs call this alike. One image after the other is in memory.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import IO, Any

from seg.errors import SegError
from seg.images import Image
from seg.inference import (
    MapName,
    Predictor,
    Segmentation,
    encode_output,
    measurement_rows,
    measurement_table,
    written_together,
)
from seg.inference.tiling.sliding_window import Progress
from seg.objects import counts_in_json
from seg.sentences import Sentence
from service.answers.containers import Add, opened_container
from service.answers.footprint import room_for
from service.answers.quality_header import (
    as_header,
    as_plain,
    objects_as_header,
    with_quality,
)
from service.batching.request_backend import SharedBackend
from service.decoding.image_decoder import ImageDecoder
from service.errors import DecodingFullError, RequestCancelledError, SchedulerClosedError
from service.models.ready_model import ReadyModel
from service.models.variants import ServedVariant
from service.observability.logs import LOGGER, where_it_failed
from service.observability.patch_times import Occupancy
from service.observability.tracing import patch_spans, span
from service.problems.document import problem
from service.problems.response import status_and_detail
from service.requests.order import Order

Content = Callable[[], AbstractContextManager[IO[bytes]]]
"""Opens a file when its turn has come."""

CUT_OFF = Sentence(
    "its sender broke off and did not come back, so slices may be missing at an end", "cut_off"
)
"""Of a series that was sent."""
REPORT = "report.json"
MEASUREMENTS = "measurements.csv"


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """What is said about an answer before its bytes."""

    media_type: str
    filename: str
    quality: str | None = None
    """JSON for a header; None of several images, whose qualities are in the report."""
    failed: int = 0
    """Images without a mask."""
    objects: str | None = None
    """JSON for a header: how many objects there are; None where nobody tells them apart."""
    is_draft: bool = False
    """Predicted to be worse than the operator lets pass."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is done with which images."""

    model: ReadyModel
    decoder: ImageDecoder
    order: Order
    backend: SharedBackend
    rung: ServedVariant
    """The variant that answers all of it."""
    lowest_dice: float | None = None
    """Predicted Dice below which an archive gets a draft."""
    on_tile: Progress = lambda done, total: None
    on_image: Callable[[], None] = lambda: None


def answer(work: Work, images: Sequence[Sequence[Content]], target: IO[bytes]) -> AnswerHead:
    """Segment images and write the answer.

    Of several images, those that fail cost no other: the report says what was wrong with them.

    Args:
        work: what to do.
        images: the files of each, one a channel or one for all.
        target: is written from its start to its end, never read or wound back.

    Raises:
        ImageError: the image is none, or none that fits the model; of several, the first of them
            where all failed.
        RequestCancelledError: the backend was cancelled.
    """
    container = work.order.container_for(len(images))
    if container is None:
        name = work.order.formats[0]
        found = segmented(work, images[0])
        target.write(_encoded(work, found, name))
        work.on_image()
        output = work.model.formats[name]
        head = f"mask{output.suffix}"
        return AnswerHead(
            output.media_type,
            head,
            as_header(found.segmentation),
            objects=objects_as_header(found.segmentation.objects),
            is_draft=found.is_draft,
        )
    with opened_container(container, target) as parts:
        report = _fill(work, images, parts.add)
    quality = report.qualities[0] if len(images) == 1 else None
    objects = report.objects[0] if len(images) == 1 else None
    return AnswerHead(
        parts.media_type, parts.filename, quality, report.failed, objects, report.is_draft
    )


@dataclass(frozen=True, eq=False, slots=True)
class SegmentedImage:
    """An image and what was found in it."""

    image: Image
    segmentation: Segmentation

    @property
    def is_draft(self) -> bool:
        """Whether its objects say so."""
        return self.segmentation.made_by is not None and self.segmentation.made_by.is_draft


@dataclass(slots=True)
class _Report:
    entries: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, str]] = field(default_factory=list)
    qualities: list[str] = field(default_factory=list)
    objects: list[str | None] = field(default_factory=list)
    failed: int = 0
    is_draft: bool = False


def _fill(work: Work, images: Sequence[Sequence[Content]], add: Add) -> _Report:
    report = _Report()
    first_error: Exception | None = None
    for number, files in enumerate(images, start=1):
        stem = "mask" if len(images) == 1 else f"mask-{number}"
        try:
            found = segmented(work, files)
            encoded = _all_encoded(work, found, stem)
        except (RequestCancelledError, SchedulerClosedError, DecodingFullError):
            raise
        except Exception as error:
            if not isinstance(error, SegError) and len(images) > 1:
                LOGGER.error("error", extra={"fields": where_it_failed(error)})
            first_error = first_error or error
            report.failed += 1
            report.entries.append({"image": number, "problem": problem(*status_and_detail(error))})
        else:
            for name, (media_type, body) in encoded.items():
                add(name, media_type, body)
            if work.order.measurements:
                report.rows += _rows(found, number)
            report.is_draft |= found.is_draft
            report.qualities.append(as_header(found.segmentation))
            report.objects.append(objects_as_header(found.segmentation.objects))
            report.entries.append(_entry(found.segmentation, number, list(encoded)))
        work.on_image()
    if first_error and report.failed == len(images):
        raise first_error
    if report.rows:
        add(MEASUREMENTS, "text/csv", measurement_table(report.rows))
    text = json.dumps({"images": report.entries}, indent=2) + "\n"
    add(REPORT, "application/json", text.encode())
    return report


def _entry(found: Segmentation, number: int, files: list[str]) -> dict[str, Any]:
    """What the report says of an image that was segmented."""
    entry = {"image": number, "files": files, "quality": as_plain(found)}
    if found.objects is not None:
        entry["objects"] = counts_in_json(found.objects)
    return entry


def segmented(work: Work, files: Sequence[Content]) -> SegmentedImage:
    """Decode an image and segment it.

    Args:
        work: what to do.
        files: of the image, one a channel or one for all.

    Raises:
        ImageError: as `answer`.
        RequestCancelledError: the backend was cancelled.
    """
    model, order, backend = work.model, work.order, work.backend
    backend.raise_if_cancelled()
    with span("decode"), model.metrics.stage("decode"), ExitStack() as opened:
        image = work.decoder.image(
            [opened.enter_context(each()) for each in files],
            dims=model.package.card.input.dims,
            limits=model.limits,
            check=backend.raise_if_cancelled,
            background=backend.is_background,
            chosen={"series": order.series, "frame": order.frame},
        )
    backend.raise_if_cancelled()
    if order.archive is not None and order.archive.is_cut_off:
        image = replace(image, notes=(*image.notes, CUT_OFF))
    outputs = (model.formats[name].map for name in order.formats)
    maps: frozenset[MapName] = frozenset(each for each in outputs if each)
    backend.runs_on(work.rung.backend)
    predictor = Predictor(
        work.rung.package, backend, mirror=order.mirror, selection=order.selection
    )
    apart, card = _tells_objects_apart(work), work.rung.package.card
    with room_for(work.decoder, card, image, maps, with_objects=apart), _predicting(work):
        found = predictor.segment(image, work.on_tile, maps, with_objects=apart)
    backend.raise_if_cancelled()
    return SegmentedImage(image, written_together(found, order.formats, work.lowest_dice))


def _tells_objects_apart(work: Work) -> bool:
    """Where objects were asked for, or the model knows how to tell them apart."""
    asked = any(work.model.formats[name].of_objects for name in work.order.formats)
    return asked or work.order.split or work.rung.package.card.instances is not None


@contextmanager
def _predicting(work: Work) -> Iterator[None]:
    """Time what becomes of the patches of an image."""
    metrics, occupancy, begin = work.model.metrics, Occupancy(), perf_counter()
    work.backend.occupancy = occupancy
    with span("predict") as part:
        yield
        end = perf_counter()
        shares = occupancy.shares(begin, end)
        metrics.spent("queue", shares.queue)
        metrics.spent("network", shares.network)
        metrics.spent("stitch", shares.stitch)
        part.set_attribute("seg.patches", len(occupancy.ran))
        patch_spans(occupancy, end)


def _encoded(work: Work, found: SegmentedImage, name: str) -> bytes:
    model = work.model
    with span("encode"), model.metrics.stage("encode"):
        body = encode_output(found.segmentation, model.formats[name], found.image)
    if name != "json":
        return body
    return with_quality(body, found.segmentation)


def _all_encoded(work: Work, found: SegmentedImage, stem: str) -> dict[str, tuple[str, bytes]]:
    """By file name; a format whose suffix an earlier one has puts its name before it."""
    files: dict[str, tuple[str, bytes]] = {}
    for name in work.order.formats:
        output = work.model.formats[name]
        file = stem + output.suffix
        if file in files:
            file = f"{stem}.{name}{output.suffix}"
        files[file] = (output.media_type, _encoded(work, found, name))
    return files


def _rows(found: SegmentedImage, number: int) -> list[dict[str, str]]:
    rows = measurement_rows(found.segmentation, found.image)
    return [{"image": str(number), **row} for row in rows]
