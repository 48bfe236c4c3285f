"""What a model says of an image of the studio: a mask to begin with, and what repairs go by."""

import io
import json
import zipfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from anyio.to_thread import run_sync
from jaxtyping import Float16, UInt16
from starlette.requests import Request

from seg.images import read_mask
from seg.model_package import ModelCard
from service.decoding.image_decoder import Check
from service.models.registry import ModelRegistry
from service.problems.response import Problem
from service.routes.asking import content_of, segmented
from service.routes.segment import PublicRoutes
from service.studio.drawn import MOST_OBJECTS
from service.studio.on_disk.classes import DrawnClasses
from service.studio.on_disk.files import opened, state_of
from service.studio.on_disk.studio_folder import StudioFolder
from service.studio.open_images import LastAsked, OpenImages

KEPT = 2
"""Images whose probabilities stay in memory."""
SHARE = 8
"""Of what decoding may take, they have one part in so many."""


@dataclass(frozen=True, eq=False)
class Suggestion:
    """A model's answer, in the numbers of the studio's label maps."""

    model: str
    """``NAME:VERSION``."""
    numbers: UInt16[np.ndarray, "*spatial"]
    objects: Mapping[int, str]
    """Class of each object."""
    sure: Mapping[int, float]
    """How probably each object is right, of those where the model can say it."""
    intervals: Mapping[str, tuple[int, int]]
    """Between which numbers the true count of a class lies, where the model can say it."""
    probabilities: Float16[np.ndarray, "k *spatial"]
    predicted_dice: float | None
    warnings: int
    """Ways in which the image is unlike those that the model knows."""

    @property
    def bytes(self) -> int:
        """In memory."""
        return self.numbers.nbytes + self.probabilities.nbytes


class Suggestions:
    """Those that were asked for last."""

    def __init__(
        self,
        models: ModelRegistry,
        public: PublicRoutes,
        folder: StudioFolder,
        images: OpenImages,
    ) -> None:
        self._models = models
        self._public = public
        self._folder = folder
        self._images = images
        self._kept = LastAsked[Suggestion](self._is_too_much)

    def answering(self, model: str | None = None) -> str:
        """``NAME:VERSION`` of the model that a name, or none, means now.

        Raises:
            Problem: 404, there is none; 422, several are there and none is the default.
            NotReadyError: it does not answer yet.
        """
        return self._models.choose(model).label

    async def get(
        self, request: Request, identity: str, model: str | None, classes: DrawnClasses
    ) -> Suggestion:
        """What a model, or the one that answers, says of an image.

        Raises:
            Problem: 404 and 422, no such image or model; what ``/segment`` answers otherwise.
            NotReadyError: no model answers yet.
            ImageError: the image does not fit it.
        """
        version = self._models.choose(model)
        paths = await run_sync(self._folder.files_of, identity)
        state = await run_sync(state_of, paths)
        key = (identity, version.label, classes.names, classes.are_objects, *state)
        if kept := self._kept.of(key):
            return kept
        card = version.card
        dims = card.input.dims
        labels = {2: "tiff", 3: "nifti"}[dims]
        wanted = f"instances-{labels},objects" if classes.are_objects else labels
        query = {"model": version.label, "format": f"{wanted},probabilities-npz,json"}
        with ExitStack() as stack:
            files = [await run_sync(opened, path, stack) for path in paths]
            answer = await segmented(self._public, request, query, files)
        content = await content_of(answer)

        def read(_: Check) -> Suggestion:
            with self._models.decoder.room(_unpacked_bytes(content)):
                return _read(content, version.label, card, classes)

        found = await self._images.in_thread(request, read)
        self._kept.keep(key, found)
        return found

    def _is_too_much(self, kept: Collection[Suggestion]) -> bool:
        room = self._models.decoder.budget.total // SHARE
        return len(kept) > KEPT or sum(each.bytes for each in kept) > room


def _unpacked_bytes(content: bytes) -> int:
    """That reading an answer takes: all of its files, and once more what they hold."""
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        return len(content) + 2 * sum(part.file_size for part in parts.infolist())


def _read(content: bytes, model: str, card: ModelCard, classes: DrawnClasses) -> Suggestion:
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        names = parts.namelist()
        labels = _named(names, ".nii.gz" if card.input.dims == 3 else ".tif")
        mask = read_mask(io.BytesIO(parts.read(labels)), dims=card.input.dims).array
        with np.load(io.BytesIO(parts.read(_named(names, ".npz")))) as arrays:
            probabilities = arrays["probabilities"]
        summary = json.loads(parts.read(_named(names, "mask.json")))
        told: Mapping[str, Any] = {"objects": [], "classes": {}}
        if classes.are_objects:
            told = json.loads(parts.read(_named(names, "objects.json")))
    place_of = places(card, classes)
    objects: dict[int, str] = {}
    if classes.are_objects:
        if mask.max(initial=0) > MOST_OBJECTS:
            raise Problem(422, f"the model finds more than {MOST_OBJECTS} objects in this image")
        objects = {
            int(row["label"]): classes.names[place_of[row["class"]]] for row in told["objects"]
        }
        numbers = mask.astype(np.uint16)
        strange = [int(row["label"]) for row in told["objects"] if not place_of[row["class"]]]
        numbers[np.isin(numbers, strange)] = 0
    else:
        table = np.zeros(256, np.uint16)
        for info in card.classes:
            table[info.index] = place_of[info.name]
        numbers = table[mask.astype(np.uint8)]
    dice = [each["dice"] for each in summary.get("quality", {}).get("predicted_dice", {}).values()]
    return Suggestion(
        model=model,
        numbers=numbers,
        objects={number: name for number, name in objects.items() if name != classes.names[0]},
        sure={
            int(row["label"]): row["probability"]
            for row in told["objects"]
            if row["probability"] is not None
        },
        intervals={
            classes.names[place_of[name]]: (count["ci95"][0], count["ci95"][1])
            for name, count in told["classes"].items()
            if count["ci95"] and place_of[name]
        },
        probabilities=probabilities.astype(np.float16, copy=False),
        predicted_dice=sum(dice) / len(dice) if dice else None,
        warnings=len(summary.get("quality", {}).get("warnings", [])),
    )


def places(card: ModelCard, classes: DrawnClasses) -> Mapping[str, int]:
    """For each class of a model its place in the dataset's list; 0 where it has none.

    Where both have one class besides the background, these are the same, whatever their names.
    """
    known = {name: place for place, name in enumerate(classes.names)}
    own = [info.name for info in card.classes if info.index]
    found = {info.name: 0 for info in card.classes} | {name: known.get(name, 0) for name in own}
    if len(own) == 1 and len(classes.names) == 2:
        found[own[0]] = 1
    return found


def _named(names: Sequence[str], ending: str) -> str:
    return next(name for name in names if name.endswith(ending))
