"""``/studio/images/ID/suggestion`` and ``/repair``: what a model can do for whoever draws."""

import json
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from anyio.to_thread import run_sync
from jaxtyping import UInt16
from pydantic import Field
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from seg.frozen import FrozenData
from seg.images import Image
from seg.inference.repair import LONGEST_REACH, NO_SEED, box_of, repaired
from service.decoding.image_decoder import Check
from service.middleware.accounting import MODEL_HEADER
from service.models.registry import ModelRegistry
from service.problems.response import Problem
from service.requests.forms import whole_form
from service.routes.segment import PublicRoutes
from service.studio.bodies import BYTES_EACH, as_bin, bin_response, checked, numbers_of, packed
from service.studio.drawn import UNKNOWN
from service.studio.on_disk.classes import DrawnClasses
from service.studio.routes import IMAGE, Studio
from service.studio.suggestions import Suggestion, Suggestions

BOX = "X-Box"
"""Where the answer lies in the image: start and stop along each axis."""
PREDICTED_DICE = "X-Predicted-Dice"


class RepairParams(FrozenData):
    """``params`` of a repair."""

    model: Annotated[str, Field(max_length=200)] | None = None
    reach: Annotated[float, Field(gt=0, le=1000)] | None = None
    """Voxels of the finest axis; None follows the objects."""


@dataclass(frozen=True, eq=False)
class _Marked:
    """What was drawn, and the marks that it does not agree with."""

    labels: UInt16[np.ndarray, "*spatial"]
    seeds: UInt16[np.ndarray, "*spatial"]
    params: RepairParams


class StudioModels:
    """The routes that ask a model."""

    def __init__(self, models: ModelRegistry, public: PublicRoutes, studio: Studio) -> None:
        self._studio = studio
        self.suggestions = Suggestions(models, public, studio.folder, studio.images)

    def routes(self) -> list[Route]:
        """For an application."""
        return [
            Route(f"{IMAGE}/suggestion", self.suggestion, methods=["POST"]),
            Route(f"{IMAGE}/repair", self.repair, methods=["POST"]),
        ]

    async def suggestion(self, request: Request) -> Response:
        """``POST /studio/images/ID/suggestion``: the mask of a model as a label map."""
        found = await self._found(request, request.query_params.get("model"))
        headers = {MODEL_HEADER: found.model, "X-Objects": json.dumps(found.objects)}
        if found.predicted_dice is not None:
            headers[PREDICTED_DICE] = f"{found.predicted_dice:.4f}"
        numbers = found.numbers
        content = await self._studio.images.in_thread(request, lambda _: packed(as_bin(numbers)))
        return bin_response(content, headers)

    async def repair(self, request: Request) -> Response:
        """``POST /studio/images/ID/repair``: the label map once marks are obeyed.

        ``label`` is what is drawn, ``seeds`` the marks: a number where somebody marked it, 65535
        elsewhere; 0 is "not this". The answer is the box that may have changed.
        """
        async with whole_form(request) as form:
            label, seeds, text = form.get("label"), form.get("seeds"), form.get("params", "{}")
            if not isinstance(label, UploadFile) or not isinstance(seeds, UploadFile):
                raise Problem(422, "a repair has two label maps, the parts label and seeds")
            if not isinstance(text, str):
                raise Problem(422, "params is a field without a file name")
            opened = await self._studio.images.get(request, request.path_params["id"])
            params = checked(RepairParams, text.encode(), "a repair")

            def read(_: Check) -> _Marked:
                drawn, marks = (
                    numbers_of(part.file, (part.filename or "").lower(), opened.image)
                    for part in (label, seeds)
                )
                return _Marked(drawn, marks, params)

            marked = await self._studio.images.drawing(request, opened.image, BYTES_EACH, read)
        found = await self._found(request, marked.params.model)
        classes = await run_sync(self._studio.classes)
        box, content = await self._studio.images.drawing(
            request,
            opened.image,
            BYTES_EACH,
            lambda _: _repaired(marked, found, opened.image, classes.are_objects),
        )
        headers = {
            MODEL_HEADER: found.model,
            BOX: ",".join(f"{side.start}:{side.stop}" for side in box),
        }
        return bin_response(content, headers)

    async def _found(self, request: Request, model: str | None) -> Suggestion:
        classes: DrawnClasses = await run_sync(self._studio.classes)
        return await self.suggestions.get(request, request.path_params["id"], model, classes)


def _repaired(
    marked: _Marked, found: Suggestion, image: Image, are_objects: bool
) -> tuple[tuple[slice, ...], bytes]:
    """The box that may have changed, and its label map, packed."""
    seeds = marked.seeds.astype(np.int32)
    seeds[marked.seeds == UNKNOWN] = NO_SEED
    if not (seeds != NO_SEED).any():
        raise Problem(422, "nothing is marked: seeds are 65535 everywhere")
    around = box_of(seeds, LONGEST_REACH[seeds.ndim])
    labels = marked.labels[around].astype(np.int32)
    new = repaired(
        labels,
        seeds[around],
        found.probabilities[(slice(None), *around)].astype(np.float32),
        image.array[(slice(None), *around)].astype(np.float32),
        spacing=image.spacing,
        reach=marked.params.reach,
        are_objects=are_objects,
    )
    changed = np.argwhere(new != labels)
    if not len(changed):
        return tuple(slice(0, 0) for _ in around), packed(b"")
    inner = tuple(
        slice(int(low), int(high) + 1)
        for low, high in zip(changed.min(axis=0), changed.max(axis=0), strict=True)
    )
    box = tuple(
        slice(part.start + side.start, part.start + side.stop)
        for part, side in zip(around, inner, strict=True)
    )
    return box, packed(as_bin(new[inner].astype(np.uint16)))
