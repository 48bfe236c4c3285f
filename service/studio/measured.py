"""``/studio/images/ID/objects``: what there is of each class, by what people drew first.

What somebody drew or corrected is counted as it stands, drafts too, since that is what they see; a
model is asked about the rest. What was counted last is kept: counting all images again asks for
those alone that were drawn on since, or that another model would answer for now.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from anyio.to_thread import run_sync
from jaxtyping import UInt16
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from seg.errors import SegError
from seg.images import Image, encode_image
from seg.objects.label_images import encode_labels
from seg.objects.measurements import measure_objects
from seg.objects.writing import LABEL_SUFFIX
from service.errors import NotReadyError
from service.problems.response import Problem
from service.studio.bodies import as_bin, bin_response, packed
from service.studio.combined import CombinedObjects, combined_classes, combined_objects
from service.studio.drawn import MOST_OBJECTS, UNKNOWN
from service.studio.model_routes import StudioModels
from service.studio.on_disk.classes import DrawnClasses
from service.studio.on_disk.files import state_of
from service.studio.on_disk.revisions import DrawnState, Revision
from service.studio.open_images import LastAsked
from service.studio.routes import IMAGE, Studio
from service.studio.suggestions import Suggestion

FORMATS = ("json", "labels", "map")
KEPT_BYTES = 64 * 2**20
"""Of answers."""
FLAT = 2**23
"""Voxels of images whose objects are kept in all formats once they are counted."""
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


@dataclass(frozen=True)
class _Answer:
    """What is said of an image."""

    content: bytes
    revision: int
    """Of the drawing."""
    media_type: str = ""
    is_packed: bool = False

    def response(self) -> Response:
        """For one who asked."""
        headers = {"ETag": f'"{self.revision}"'}
        if self.is_packed:
            return bin_response(self.content, headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


class StudioCounts:
    """The route that counts and measures an image of the studio."""

    def __init__(self, studio: Studio, models: StudioModels) -> None:
        self._studio = studio
        self._suggestions = models.suggestions
        self._answers = LastAsked[_Answer](
            lambda kept: sum(len(each.content) for each in kept) > KEPT_BYTES
        )

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
        if kept := self._answers.of((wanted, *key)):
            return kept.response()
        image = (await self._studio.images.get(request, identity)).image
        drawn = await self._drawn(request, identity, image, classes)
        found = began = None
        if drawn is None or drawn.share < 1:
            found = await self._suggestions.get(request, identity, model, classes)
        is_flat = int(np.prod(image.spatial_shape)) <= FLAT
        formats = FORMATS if is_flat else (wanted,)  # asked for next, and the model has gone on
        if drawn and drawn.revision.package and classes.are_objects and "json" in formats:
            with suppress(Problem, SegError):  # that model may be gone
                package = drawn.revision.package
                began = await self._suggestions.get(request, identity, package, classes)
        seen = _Seen(identity, image, classes, drawn, found, began)
        answers = await self._studio.images.drawing(
            request, image, BYTES_EACH, lambda _: _answers(seen, wanted, formats)
        )
        for name, answer in answers.items():
            self._answers.keep((name, *key), answer)
        return answers[wanted].response()

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


@dataclass(frozen=True, eq=False)
class _Seen:
    """All that is known of an image."""

    identity: str
    image: Image
    classes: DrawnClasses
    drawn: _Drawn | None
    found: Suggestion | None
    """What a model says, where something is not drawn."""
    began: Suggestion | None
    """What a drawing began with."""

    @cached_property
    def whole(self) -> CombinedObjects:
        """Objects, where they are told apart."""
        named = self.drawn.revision.objects if self.drawn else {}
        numbers = self.drawn.numbers if self.drawn else None
        begun = self.began.numbers if self.began else None
        return combined_objects(numbers, named, self.found, self.classes, self.image, begun)

    @property
    def places(self) -> UInt16[np.ndarray, "*spatial"]:
        """Classes, where they are painted."""
        return combined_classes(self.drawn.numbers if self.drawn else None, self.found)


def _answers(seen: _Seen, wanted: str, formats: Sequence[str]) -> dict[str, _Answer]:
    """What was asked for, and other formats as far as they can be had."""
    answers = {wanted: _answer(seen, wanted)}
    for name in formats:
        if name != wanted:
            with suppress(Problem):
                answers[name] = _answer(seen, name)
    return answers


def _answer(seen: _Seen, wanted: str) -> _Answer:
    revision = seen.drawn.revision.revision if seen.drawn else 0
    if wanted == "labels":
        return _Answer(_labels(seen), revision, MEDIA_TYPE[seen.image.dims])
    if wanted == "map":
        return _Answer(packed(as_bin(_map(seen))), revision, is_packed=True)
    told = {"id": seen.identity, "dims": seen.image.dims, **_about(seen), **_measured(seen)}
    return _Answer(json.dumps(told, allow_nan=False).encode(), revision, "application/json")


def _about(seen: _Seen) -> dict[str, Any]:
    drawn, found = seen.drawn, seen.found
    model = found.model if found else None
    if model is None and seen.began and not seen.whole.are_drawn.all():
        model = seen.began.model
    return {
        "revision": drawn.revision.revision if drawn else 0,
        "state": drawn.state if drawn else None,
        "began_with": drawn.revision.package if drawn else None,
        "drawn": round(drawn.share, 4) if drawn else 0.0,
        "model": model,
        "warnings": found.warnings if found else 0,
    }


def _labels(seen: _Seen) -> bytes:
    """A label image: numbers of objects, or values of the dataset's classes."""
    suffix = LABEL_SUFFIX[seen.image.dims]
    if seen.classes.are_objects:
        return encode_labels(seen.whole.objects, suffix, seen.image)
    values = np.array([*seen.classes.values.values()])
    values = values.astype(np.min_scalar_type(values.max()))[seen.places]
    return encode_image(Image.on_grid_of(seen.image, values[np.newaxis]), f"mask{suffix}")


def _map(seen: _Seen) -> UInt16[np.ndarray, "*spatial"]:
    """The same as a label map of the page."""
    if not seen.classes.are_objects:
        return seen.places
    objects = seen.whole.objects
    if len(objects) > MOST_OBJECTS:
        raise Problem(422, f"more than {MOST_OBJECTS} objects: format=labels has them")
    return objects.labels.astype(np.uint16)


def _measured(seen: _Seen) -> dict[str, Any]:
    """Counts, sizes and rows; sizes are in mm² or mm³ where the spacing is known."""
    spacing, names = seen.image.spacing, seen.classes.names
    unit = "mm" if spacing else "pixel"
    if not seen.classes.are_objects:
        size = float(np.prod(spacing)) if spacing else 1.0
        voxels = np.bincount(seen.places.ravel(), minlength=len(names))
        sizes = {
            name: {"num_pixels": int(voxels[place]), "area": float(voxels[place]) * size}
            for place, name in enumerate(names)
            if place
        }
        return {"told_apart": False, "unit": unit, "classes": sizes, "objects": []}
    rows = [
        {**row, "from": "drawn" if is_drawn else "model"}
        for row, is_drawn in zip(
            measure_objects(seen.whole.objects, seen.image), seen.whole.are_drawn, strict=True
        )
    ]
    is_drawn_on = seen.drawn is not None and seen.drawn.share > 0  # else it was undone
    intervals = seen.found.intervals if seen.found and not is_drawn_on else {}
    counted = {name: _of_class(rows, name, intervals.get(name)) for name in names[1:]}
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
