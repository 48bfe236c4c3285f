"""``/datastore`` and ``/activelearning``: images and masks of the folder of studies."""

import hashlib
import math
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

from anyio.to_thread import run_sync
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seg.errors import ImageError
from seg.files import sha256_of
from service.answers.streams import CHUNK, WholeFile
from service.decoding.image_decoder import Check
from service.frontends.monailabel.numbering import Numbering
from service.frontends.monailabel.params import json_object
from service.frontends.monailabel.results import mean_dice
from service.frontends.monailabel.sessions import ending_of
from service.frontends.monailabel.studies import FINAL, Studies, ending_at
from service.middleware.caller import name_of
from service.models.ready_model import ReadyModel
from service.models.registry import ModelRegistry
from service.problems.response import Problem
from service.requests.forms import whole_form
from service.routes.asking import content_of, segmented
from service.routes.segment import PublicRoutes
from service.studio.bodies import BYTES_EACH
from service.studio.drawn import as_file, check_one_meaning, from_bin
from service.studio.on_disk.classes import CARD, DrawnClasses
from service.studio.on_disk.drawing import Author, DrawnMask
from service.studio.on_disk.files import opened
from service.studio.open_images import OpenImages
from service.studio.open_images import content_of as image_content

STRATEGIES: Mapping[str, str] = {
    "predicted_dice": "The image of which the model expects the worst mask",
    "first": "The first by name",
    "random": "Any",
}
LOOKING_S = 30.0
"""Seconds that the choice of the next image may take for images that no model has seen."""


@dataclass(frozen=True)
class _SentMask:
    """A mask that somebody sends."""

    files: Sequence[BinaryIO]
    """Of the image that it was drawn on."""
    label: BinaryIO
    is_bin: bool
    """It is OHIF's ``label.bin``."""
    info: Any
    """``label_info``: what its numbers mean."""


class Datastore:
    """The routes."""

    def __init__(self, models: ModelRegistry, public: PublicRoutes, studies: Studies) -> None:
        self._models = models
        self._public = public
        self.studies = studies
        self._images = OpenImages(models, studies)

    def routes(self) -> list[Route]:
        """For an application."""
        return [
            Route("/datastore/", self.show, methods=["GET"]),
            Route("/datastore/", self.put_image, methods=["PUT"]),
            Route("/datastore/", self.remove, methods=["DELETE"]),
            Route("/datastore/image", self.image, methods=["GET"]),
            Route("/datastore/image", self.put_image, methods=["PUT"]),
            Route("/datastore/image", self.remove, methods=["DELETE"]),
            Route("/datastore/image/info", self.image_info, methods=["GET"]),
            Route("/datastore/label", self.label, methods=["GET"]),
            Route("/datastore/label", self.put_label, methods=["PUT"]),
            Route("/datastore/label", self.remove_label, methods=["DELETE"]),
            Route("/activelearning/{strategy}", self.next, methods=["POST"]),
        ]

    def has(self, identity: str) -> bool:
        """Whether an image of that id is kept."""
        return identity in self.studies.images()

    def stats(self) -> dict[str, Any]:
        """How many images there are, and how many of them are annotated."""
        labels = self.studies.all_labels()
        tags: dict[str, int] = {}
        for tag in (tag for each in labels.values() for tag in each):
            tags[tag] = tags.get(tag, 0) + 1
        return {"total": len(labels), "completed": tags.get(FINAL, 0), "label_tags": tags}

    async def show(self, request: Request) -> Response:
        """``GET /datastore/``: numbers, or everything by ``output=all`` or ``train``."""
        output = request.query_params.get("output", "stats")
        if output == "stats":
            return JSONResponse(await run_sync(self.stats))
        if output not in ("all", "train"):
            raise Problem(422, "output is stats, all or train")
        objects = await run_sync(self._objects)
        if output == "all":
            return JSONResponse(
                {
                    "name": "seg",
                    "description": f"images/, masks/ and {CARD}, as training reads them",
                    "images_dir": "images",
                    "labels_dir": "masks",
                    "objects": objects,
                }
            )
        done = [(name, each) for name, each in objects.items() if FINAL in each["labels"]]
        pairs = [
            {
                "image": f"images/{name}{each['image']['ext']}",
                "label": f"masks/{name}{each['labels'][FINAL]['ext']}",
            }
            for name, each in done
        ]
        return JSONResponse(pairs)

    def _objects(self) -> dict[str, Any]:
        labels = self.studies.all_labels()
        return {
            identity: {
                "image": {"ext": ending_at(files[0]), "info": _facts(files[0])},
                "labels": {
                    tag: {"ext": ending_at(path), "info": _facts(path)}
                    for tag, path in labels[identity].items()
                },
            }
            for identity, files in self.studies.images().items()
            if identity in labels  # it may have come meanwhile
        }

    async def image(self, request: Request) -> Response:
        """``GET /datastore/image``: the file of an image; ``HEAD`` whether it is there."""
        identity = request.query_params.get("image", "")
        wanted = request.query_params.get("check_sum")
        async with self.opened(identity) as (files, _):
            if wanted and wanted != await run_sync(_check_sum, files[0]):
                raise Problem(404, "the image here is another one")
            if request.method == "HEAD":
                return Response()
            return await _sent((await run_sync(self.studies.files_of, identity))[0], files[0])

    async def image_info(self, request: Request) -> Response:
        """``GET /datastore/image/info``: what is known of an image."""
        identity = request.query_params.get("image", "")
        files = await run_sync(self.studies.files_of, identity)
        return JSONResponse(await run_sync(_facts, files[0]))

    async def put_image(self, request: Request) -> Response:
        """``PUT /datastore/image``: take an image in."""
        async with whole_form(request) as form:
            part = form.get("file")
            if not isinstance(part, UploadFile):
                raise Problem(422, "the image is a part named file")
            identity = request.query_params.get("image") or _new_id(part.file)
            ending = ending_of(part.filename or "")
            if ending:  # what has none is refused in other words
                await self._images.decoded(request, part.file, self._images.dims)
            await run_sync(self.studies.add, identity, ending, part.file)
        return JSONResponse({"image": identity})

    async def remove(self, request: Request) -> Response:
        """``DELETE /datastore/image``: forget an image with its masks."""
        await run_sync(self.studies.remove, request.query_params.get("id", ""))
        return JSONResponse({})

    async def label(self, request: Request) -> Response:
        """``GET /datastore/label``: a mask of an image; ``HEAD`` whether it is there."""
        query = request.query_params
        identity = query.get("label") or query.get("image") or ""
        await run_sync(self.studies.files_of, identity)
        path = await run_sync(self.studies.label, identity, query.get("tag", ""))
        return WholeFile(path, filename=f"label{ending_at(path)}")

    async def put_label(self, request: Request) -> Response:
        """``PUT /datastore/label``: keep what somebody drew, in the dataset's own numbers."""
        identity = request.query_params.get("image", "")
        tag = request.query_params.get("tag") or FINAL
        async with whole_form(request) as form, self.opened(identity) as (files, _):
            part, text = form.get("label"), form.get("params", "")
            if not isinstance(part, UploadFile) or not isinstance(text, str):
                raise Problem(422, "the mask is a part named label, params a field without file")
            info = json_object(text).get("label_info")
            version = self._models.choose()
            fresh = Numbering.of(version.card).labels
            classes = await run_sync(self.studies.drawn_classes, fresh)
            with self._public.admission.admitted(self._public.side_by_side):
                async with self._models.memory.lease(version) as model:
                    is_bin = (part.filename or "").lower().endswith(".bin")
                    sent = _SentMask(files, part.file, is_bin, info)
                    drawn = partial(self._drawn, model, sent, classes, fresh)
                    mask = await self._public.decoded(request, model, drawn)
            author = Author(who=name_of(request), source="monailabel")
            await run_sync(self.studies.put_label, identity, tag, mask, author)
        return JSONResponse({"image": identity, "label": identity})

    def _drawn(
        self,
        model: ReadyModel,
        sent: "_SentMask",
        classes: DrawnClasses,
        served: Mapping[str, int],
        check: Check,
    ) -> DrawnMask:
        """What somebody drew on an image; in a thread."""
        decoder = self._models.decoder
        dims = model.package.card.input.dims
        read = partial(decoder.image, dims=dims, limits=model.limits, check=check)
        image = read(sent.files)
        voxels = math.prod(image.spatial_shape)
        with decoder.room(BYTES_EACH * voxels):
            if sent.is_bin:
                drawn = from_bin(sent.label.read(2 * voxels + 1), image)
            else:
                drawn = read([sent.label])
            if sent.info is None:
                check_one_meaning(drawn, classes, served)
            mask = as_file(drawn, image, sent.info, classes)
        return replace(mask, drawn_on=image_content(image))

    async def remove_label(self, request: Request) -> Response:
        """``DELETE /datastore/label``: forget a mask."""
        query = request.query_params
        await run_sync(self.studies.remove_label, query.get("id", ""), query.get("tag", ""))
        return JSONResponse({})

    async def next(self, request: Request) -> Response:
        """``POST /activelearning/STRATEGY``: the image that is worth annotating next."""
        strategy = request.path_params["strategy"]
        if strategy not in STRATEGIES:
            raise Problem(404, f"strategies are {', '.join(STRATEGIES)}")
        images = await run_sync(self.studies.images)
        masks = await run_sync(self.studies.masks)
        left = [each for each in images if each not in masks]
        if not left:
            return JSONResponse({})
        more: dict[str, Any] = {}
        chosen = left[0]
        if strategy == "random":
            chosen = random.choice(left)
        elif strategy == "predicted_dice":
            dice = await self._predicted(request, left)
            if dice:
                chosen = min(dice, key=lambda each: (dice[each], each))
                more["predicted_dice"] = round(dice[chosen], 4)
            more["not_seen"] = len(left) - len(dice)
        async with self.opened(chosen) as (files, ending):
            check_sum = await run_sync(_check_sum, files[0])
        path = images[chosen][0]
        told = {"id": chosen, "name": chosen, "path": f"{chosen}{ending}", "checksum": check_sum}
        return JSONResponse(told | {"ts": int(path.stat().st_mtime)} | more)

    async def _predicted(self, request: Request, images: list[str]) -> dict[str, float]:
        """Predicted Dice of images, and of those that no model has seen as many as time allows."""
        version = self._models.choose()
        dice_of: dict[str, float] = {}
        until = monotonic() + LOOKING_S
        for image in images:
            dice = await run_sync(self.studies.predicted_dice, image, version.label)
            if dice is None and monotonic() < until:
                query = {"model": version.label, "format": "json"}
                async with self.opened(image) as (files, _):
                    try:
                        answer = await segmented(self._public, request, query, files)
                    except ImageError:  # one that cannot be read hides no other
                        continue
                dice = mean_dice(await content_of(answer))
                if dice is not None:
                    await run_sync(self.studies.note_dice, image, version.label, dice)
            if dice is not None:
                dice_of[image] = dice
        return dice_of

    @asynccontextmanager
    async def opened(self, identity: str) -> AsyncIterator[tuple[list[BinaryIO], str]]:
        """The files of an image, a series as one ZIP file; and the ending of its name."""
        paths = await run_sync(self.studies.files_of, identity)
        with ExitStack() as stack:
            yield [await run_sync(opened, path, stack) for path in paths], ending_at(paths[0])


async def _sent(path: Path, file: BinaryIO) -> Response:
    ending = ending_at(path) or ".zip"
    if path.is_file():
        return WholeFile(path, filename=f"image{ending}")
    headers = {"Content-Disposition": f'attachment; filename="image{ending}"'}
    return Response(await run_sync(file.read), headers=headers, media_type="application/zip")


def _check_sum(file: BinaryIO) -> str:
    file.seek(0)
    total = hashlib.sha256()
    while chunk := file.read(CHUNK):
        total.update(chunk)
    file.seek(0)
    return f"SHA256:{total.hexdigest()}"


def _new_id(file: BinaryIO) -> str:
    """The same for the same content."""
    return _check_sum(file).removeprefix("SHA256:")[:32]


def _facts(path: Path) -> dict[str, object]:
    facts: dict[str, object] = {"ts": int(path.stat().st_mtime), "name": path.name}
    if not path.is_file():
        return facts
    about = path.stat()
    return facts | {"checksum": f"SHA256:{_sha256_of(path, about.st_mtime_ns, about.st_size)}"}


@lru_cache(4096)
def _sha256_of(path: Path, _changed: int, _size: int) -> str:
    """Read again only where the file has changed: whoever lists a dataset asks for all of them."""
    return sha256_of(path)
