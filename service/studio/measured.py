"""``/studio/images/ID/objects``: what there is of each class, by what people drew first.

What somebody drew or corrected is counted as it stands, drafts too, since that is what they see; a
model is asked about the rest. What was counted last is kept: counting all images again asks for
those alone that were drawn on since, or that another model would answer for now.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from anyio.to_thread import run_sync
from jaxtyping import UInt16
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seg.errors import SegError
from seg.images import Image, encode_image
from seg.objects.label_images import encode_labels
from seg.objects.measurements import measure_objects
from seg.objects.writing import LABEL_SUFFIX
from service.decoding.image_decoder import Check
from service.errors import NotReadyError
from service.problems.response import Problem
from service.studio.bodies import as_bin, bin_response, packed
from service.studio.combined import CombinedObjects, combined_classes, combined_objects
from service.studio.drawn import MOST_OBJECTS, UNKNOWN
from service.studio.model_routes import StudioModels
from service.studio.on_disk.classes import DrawnClasses
from service.studio.on_disk.files import state_of
from service.studio.on_disk.revisions import DrawnState, Revision
from service.studio.routes import IMAGE, Studio
from service.studio.suggestions import Suggestion

FORMATS = ("json", "labels", "map")
KEPT_BYTES = 64 * 2**20
"""Of answers in JSON."""
BYTES_EACH = 40
"""That labels, their first voxels and their measurements take for a voxel."""
MEDIA_TYPE = {2: "image/tiff", 3: "application/gzip"}


@dataclass(frozen=True, eq=False)
class _Drawn:
    """The last version of an image."""

    numbers: UInt16[np.ndarray, "*spatial"]
    revision: Revision
    state: DrawnState
    """Whether it is what somebody called done."""
    share: float
    """Of the voxels, those that somebody annotated."""


class _Answers:
    """Those that were asked for last: their ETag and what they say."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[object, ...], tuple[str, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, key: tuple[object, ...]) -> Response | None:
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            etag, content = self._kept[key]
        return Response(content, media_type="application/json", headers={"ETag": etag})

    def keep(self, key: tuple[object, ...], answer: Response) -> None:
        with self._lock:
            self._kept[key] = answer.headers["ETag"], bytes(answer.body)
            while sum(len(content) for _, content in self._kept.values()) > KEPT_BYTES:
                self._kept.popitem(last=False)


class StudioCounts:
    """The route that counts and measures an image of the studio."""

    def __init__(self, studio: Studio, models: StudioModels) -> None:
        self._studio = studio
        self._suggestions = models.suggestions
        self._answers = _Answers()

    def routes(self) -> list[Route]:
        """For an application."""
        return [Route(f"{IMAGE}/objects", self.objects, methods=["GET"])]

    async def objects(self, request: Request) -> Response:
        """``GET /studio/images/ID/objects``: counts and a row for each object, or where they lie.

        ``format=labels`` is a label image for other programs, ``map`` what the page shows.
        """
        wanted = request.query_params.get("format", FORMATS[0])
        if wanted not in FORMATS:
            raise Problem(422, f"format is one of {', '.join(FORMATS)}")
        identity = request.path_params["id"]
        model = request.query_params.get("model")
        with suppress(NotReadyError, Problem):  # nobody is asked where all is drawn
            model = self._suggestions.answering(model)
        classes = await run_sync(self._studio.classes)
        key = await run_sync(self._key, identity, model, classes)
        if wanted == "json" and (kept := self._answers.of(key)):
            return kept
        image = (await self._studio.images.get(request, identity)).image
        drawn = await self._drawn(request, identity, image, classes)
        found = began = None
        if drawn is None or drawn.share < 1:
            found = await self._suggestions.get(request, identity, model, classes)
        if drawn and drawn.revision.package and classes.are_objects and wanted == "json":
            with suppress(Problem, SegError):  # that model may be gone
                package = drawn.revision.package
                began = await self._suggestions.get(request, identity, package, classes)

        def answered(_: Check) -> Response:
            headers = {"ETag": f'"{drawn.revision.revision if drawn else 0}"'}
            if wanted == "map":
                return _map(drawn, found, classes, image, headers)
            if wanted == "labels":
                content = _labels(drawn, found, classes, image)
                return Response(content, media_type=MEDIA_TYPE[image.dims], headers=headers)
            told = {"id": identity, "dims": image.dims, **_about(drawn, found)}
            told |= _measured(drawn, found, began, classes, image)
            return JSONResponse(told, headers=headers)

        answer = await self._studio.images.drawing(request, image, BYTES_EACH, answered)
        if wanted == "json":
            self._answers.keep(key, answer)
        return answer

    def _key(self, identity: str, model: str | None, classes: DrawnClasses) -> tuple[object, ...]:
        """All that a count depends on."""
        record = self._studio.folder.record(identity)
        state = state_of(self._studio.folder.files_of(identity))
        drawn = record.last.sha256 if record.last else None
        values = tuple(classes.values.items())
        return identity, model, values, record.number, drawn, record.is_changed, *state

    async def _drawn(
        self, request: Request, identity: str, image: Image, classes: DrawnClasses
    ) -> _Drawn | None:
        record = await run_sync(self._studio.folder.record, identity)
        if not record.number:
            return None
        state: DrawnState = "done" if record.done and not record.is_changed else "draft"
        revision, numbers = await self._studio.drawn(request, identity, image, classes)
        share = await self._studio.images.in_thread(
            request, lambda _: float((numbers != UNKNOWN).mean())
        )
        return _Drawn(numbers, revision, state, share)


def _about(drawn: _Drawn | None, found: Suggestion | None) -> dict[str, Any]:
    return {
        "revision": drawn.revision.revision if drawn else 0,
        "state": drawn.state if drawn else None,
        "began_with": drawn.revision.package if drawn else None,
        "drawn": round(drawn.share, 4) if drawn else 0.0,
        "model": found.model if found else None,
        "warnings": found.warnings if found else 0,
    }


def _objects(
    drawn: _Drawn | None,
    found: Suggestion | None,
    classes: DrawnClasses,
    image: Image,
    began: Suggestion | None = None,
) -> CombinedObjects:
    named = drawn.revision.objects if drawn else {}
    numbers = drawn.numbers if drawn else None
    begun = began.numbers if began else None
    return combined_objects(numbers, named, found, classes, image, begun)


def _labels(
    drawn: _Drawn | None, found: Suggestion | None, classes: DrawnClasses, image: Image
) -> bytes:
    """A label image: numbers of objects, or values of the dataset's classes."""
    suffix = LABEL_SUFFIX[image.dims]
    if classes.are_objects:
        return encode_labels(_objects(drawn, found, classes, image).objects, suffix, image)
    places = combined_classes(drawn.numbers if drawn else None, found)
    values = np.array([*classes.values.values()])
    values = values.astype(np.min_scalar_type(values.max()))[places]
    return encode_image(Image.on_grid_of(image, values[np.newaxis]), f"mask{suffix}")


def _map(
    drawn: _Drawn | None,
    found: Suggestion | None,
    classes: DrawnClasses,
    image: Image,
    headers: dict[str, str],
) -> Response:
    """The same as a label map of the page."""
    if not classes.are_objects:
        places = combined_classes(drawn.numbers if drawn else None, found)
        return bin_response(packed(as_bin(places)), headers)
    objects = _objects(drawn, found, classes, image).objects
    if len(objects) > MOST_OBJECTS:
        raise Problem(422, f"more than {MOST_OBJECTS} objects: format=labels has them")
    content = packed(as_bin(objects.labels.astype(np.uint16)))
    return bin_response(content, headers)


def _measured(
    drawn: _Drawn | None,
    found: Suggestion | None,
    began: Suggestion | None,
    classes: DrawnClasses,
    image: Image,
) -> dict[str, Any]:
    """Counts, sizes and rows; sizes are in mm² or mm³ where the spacing is known."""
    unit = "mm" if image.spacing else "pixel"
    size = float(np.prod(image.spacing)) if image.spacing else 1.0
    if not classes.are_objects:
        places = combined_classes(drawn.numbers if drawn else None, found)
        voxels = np.bincount(places.ravel(), minlength=len(classes.names))
        sizes = {
            name: {"num_pixels": int(voxels[place]), "area": float(voxels[place]) * size}
            for place, name in enumerate(classes.names)
            if place
        }
        return {"told_apart": False, "unit": unit, "classes": sizes, "objects": []}
    whole = _objects(drawn, found, classes, image, began)
    rows = [
        {**row, "from": "drawn" if is_drawn else "model"}
        for row, is_drawn in zip(
            measure_objects(whole.objects, image), whole.are_drawn, strict=True
        )
    ]
    intervals: Mapping[str, tuple[int, int]] = found.intervals if found and not drawn else {}
    counted = {name: _of_class(rows, name, intervals.get(name)) for name in classes.names[1:]}
    return {"told_apart": True, "unit": unit, "classes": counted, "objects": rows}


def _of_class(
    rows: list[dict[str, Any]], name: str, interval: tuple[int, int] | None
) -> dict[str, Any]:
    own = [row for row in rows if row["class"] == name]
    area = sum(row["area"] for row in own)
    return {
        "count": len(own),
        "drawn": sum(row["from"] == "drawn" for row in own),
        "ci95": list(interval) if interval else None,
        "num_pixels": sum(row["num_pixels"] for row in own),
        "area": area,
        "area_mean": area / len(own) if own else None,
    }
