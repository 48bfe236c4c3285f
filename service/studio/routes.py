"""``/studio``: images, what is drawn on them, and its versions.

A label map goes over the wire as OHIF's ``label.bin`` does: unsigned 16-bit numbers, little endian,
on the image's grid. Its numbers are places in the list of classes, or numbers of objects; 0 is
background and 65535 what nobody annotated. ``ETag`` and ``If-Match`` are the version drawn on.
"""

import json
from dataclasses import replace
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from anyio.to_thread import run_sync
from jaxtyping import UInt16
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seg.images import IMAGE_ENDINGS, Image, read_mask
from service.decoding.image_decoder import Check
from service.middleware.caller import name_of
from service.models.registry import ModelRegistry
from service.problems.response import Problem
from service.requests.bodies import short_body
from service.requests.forms import whole_form
from service.requests.numbers import whole_number
from service.studio.bodies import (
    BYTES_EACH,
    DrawnParams,
    NewDataset,
    as_bin,
    bin_response,
    checked,
    numbers_of,
    packed,
)
from service.studio.drawn import as_file, for_page, from_page
from service.studio.drawn_polygons import from_geojson
from service.studio.on_disk.classes import DrawnClasses
from service.studio.on_disk.drawing import Author, DrawnMask
from service.studio.on_disk.held_back import held_back
from service.studio.on_disk.revisions import Revision
from service.studio.on_disk.studio_folder import StudioFolder
from service.studio.open_images import OpenImage, OpenImages
from service.studio.standing import standing, told_of

MOST_JSON = 64 * 1024
IMAGE = "/studio/images/{id}"


class Studio:
    """The routes of what is drawn."""

    def __init__(self, models: ModelRegistry, folder: StudioFolder) -> None:
        self._models = models
        self.folder = folder
        self.images = OpenImages(models, folder)

    def routes(self) -> list[Route]:
        """For an application."""
        return [
            Route("/studio/dataset", self.dataset, methods=["GET"]),
            Route("/studio/dataset", self.begin, methods=["PUT"]),
            Route("/studio/images", self.all_images, methods=["GET"]),
            Route(IMAGE, self.about, methods=["GET"]),
            Route(IMAGE, self.add, methods=["PUT"]),
            Route(IMAGE, self.remove, methods=["DELETE"]),
            Route(f"{IMAGE}/slice", self.slice, methods=["GET"]),
            Route(f"{IMAGE}/label", self.label, methods=["GET"]),
            Route(f"{IMAGE}/label", self.put_label, methods=["PUT"]),
            Route(f"{IMAGE}/restore", self.restore, methods=["POST"]),
        ]

    async def dataset(self, _: Request) -> Response:
        """``GET /studio/dataset``: what is drawn here, and how far it is."""
        return JSONResponse(await run_sync(self._dataset))

    def _dataset(self) -> dict[str, Any]:
        classes, images = self.folder.classes(), self.folder.images()
        masks = self.folder.masks()
        told: dict[str, Any] = {
            "images": len(images),
            "done": len(images.keys() & masks.keys()),
            "held_back": len(held_back(self.folder.folder)),
            "classes": None,
        }
        if classes:
            told["objects"] = classes.are_objects
            told["ignores"] = classes.ignore is not None
            told["classes"] = [
                {"name": name, "color": list(classes.colors.get(name, ())) or None}
                for name in classes.names
            ]
        return told

    async def begin(self, request: Request) -> Response:
        """``PUT /studio/dataset``: name the classes, before anything is drawn."""
        wanted = checked(NewDataset, await _json_body(request), "a dataset")
        names = [each.name for each in wanted.classes]
        if len({*names, "background", "ignore"}) < len(names) + 2:
            raise Problem(422, "each class has a name of its own, none background or ignore")
        if await run_sync(self.folder.classes) is not None:
            raise Problem(409, "the classes are named already: dataset.yaml in the folder")
        named = [each.model_dump(exclude_none=True, mode="json") for each in wanted.classes]
        await run_sync(lambda: self.folder.begin(named, are_objects=wanted.objects))
        return JSONResponse(await run_sync(self._dataset), 201)

    async def all_images(self, _: Request) -> Response:
        """``GET /studio/images``: all of them, and what is drawn of each."""
        return JSONResponse({"images": await run_sync(self._listed)})

    def _listed(self) -> list[dict[str, Any]]:
        back = set(held_back(self.folder.folder))
        records = self.folder.records()
        masks = self.folder.masks()  # after a look at the records, which finishes what was begun
        told = []
        for name, record in records.items():
            about = {"id": name, "held_back": name in back, **standing(record, name in masks)}
            told.append(about | ({"state": record.last.state} if record.last else {}))
        return told

    async def about(self, request: Request) -> Response:
        """``GET /studio/images/ID``: its size, and the versions of what is drawn."""
        identity = request.path_params["id"]
        record = await run_sync(self.folder.record, identity)
        opened = await self.images.get(request, identity)
        image = opened.image
        told = {
            "id": identity,
            "shape": list(image.spatial_shape),
            "spacing": list(image.spacing) if image.spacing else None,
            "channels": image.channels,
            "is_color": opened.is_color,
            "content": opened.content,
            "replaced": record.drawn_on not in (None, opened.content),
            **standing(record, await run_sync(self.folder.mask, identity) is not None),
            "revisions": [told_of(each) for each in record.revisions],
        }
        return JSONResponse(told, headers={"ETag": f'"{record.number}"'})

    async def add(self, request: Request) -> Response:
        """``PUT /studio/images/ID``: take an image in, if it is one; the part is named file.

        201, or 200 where it is there already.
        """
        async with whole_form(request) as form:
            part = form.get("file")
            if not isinstance(part, UploadFile):
                raise Problem(422, "the image is a part named file")
            name = (part.filename or "").lower()
            ending = next((each for each in IMAGE_ENDINGS if name.endswith(each)), "")
            identity = request.path_params["id"]
            if ending:  # what has none is refused in other words
                await self.images.decoded(request, part.file, self.images.dims)
            is_new = await run_sync(lambda: self.folder.add(identity, ending, part.file, once=True))
        return JSONResponse({"id": identity}, 201 if is_new else 200)

    async def remove(self, request: Request) -> Response:
        """``DELETE /studio/images/ID``: forget an image with all that was drawn on it."""
        await run_sync(self.folder.remove, request.path_params["id"])
        return Response(status_code=204)

    async def slice(self, request: Request) -> Response:
        """``GET /studio/images/ID/slice``: 8 bits a pixel, or 24 of a picture in colour."""
        opened = await self.images.get(request, request.path_params["id"])
        z, channel = (_number(request, name) for name in ("z", "channel"))
        pixels = await self.images.in_thread(request, lambda _: opened.shown(z, channel).tobytes())
        width, height = opened.image.spatial_shape[:-3:-1]
        headers = {"X-Slice-Size": f"{width},{height}"}
        return Response(pixels, headers=headers, media_type="application/octet-stream")

    async def label(self, request: Request) -> Response:
        """``GET /studio/images/ID/label``: the last version of what is drawn, or ``revision``."""
        identity = request.path_params["id"]
        wanted = _number(request, "revision") or None
        image = (await self.images.get(request, identity)).image
        classes = await run_sync(self.classes)
        revision, numbers = await self.drawn(request, identity, image, classes, wanted)
        objects = json.dumps(dict(revision.objects))
        headers = {"ETag": f'"{revision.revision}"', "X-Objects": objects}
        content = await self.images.drawing(
            request, image, BYTES_EACH, lambda _: packed(as_bin(numbers))
        )
        return bin_response(content, headers)

    async def drawn(
        self,
        request: Request,
        identity: str,
        image: Image,
        classes: DrawnClasses,
        wanted: int | None = None,
    ) -> tuple[Revision, UInt16[np.ndarray, "*spatial"]]:
        """A version of what is drawn, in the numbers of the page; the last one if none is wanted.

        Raises:
            Problem: 404, there is none; 409, it does not lie on its image.
        """
        revision, path = await run_sync(self.folder.version, identity, wanted)

        def read(_: Check) -> UInt16[np.ndarray, "*spatial"]:
            mask = read_mask(path, dims=image.dims, image=image)
            if mask.spatial_shape != image.spatial_shape:
                raise Problem(409, "the mask in the folder has another size than its image")
            return for_page(mask.array, classes)

        return revision, await self.images.drawing(request, image, BYTES_EACH, read)

    async def put_label(self, request: Request) -> Response:
        """``PUT /studio/images/ID/label``: keep what somebody drew, as a draft or as done.

        ``label`` is a label map (``.bin``, ``.bin.gz``), GeoJSON, or a file of a mask in the
        dataset's own numbers.
        """
        identity = request.path_params["id"]
        async with whole_form(request) as form:
            part, text = form.get("label"), form.get("params", "{}")
            if not isinstance(part, UploadFile) or not isinstance(text, str):
                raise Problem(422, "the mask is a part named label, params a field without file")
            expected = _expected(request)
            params = checked(DrawnParams, text.encode(), "params")
            opened = await self.images.get(request, identity)
            if params.content not in (None, opened.content):
                raise Problem(
                    409,
                    "this image was replaced by another one while you drew; what you drew is of "
                    "the one before and is not saved",
                )
            classes = await run_sync(self.classes)
            name = (part.filename or "").lower()
            mask = await self._mask(request, (name, part.file), params, opened, classes)
        author = Author(
            who=name_of(request),
            source="geojson" if name.endswith("json") else "studio",
            package=params.package,
            seconds=params.seconds,
            sitting=params.sitting,
        )
        mask = replace(mask, drawn_on=opened.content)
        revision = await run_sync(
            lambda: self.folder.keep(identity, mask, author, state=params.state, expected=expected)
        )
        return await self._kept(identity, revision)

    async def _kept(self, identity: str, revision: Revision) -> Response:
        """What became of saving."""
        record = await run_sync(self.folder.record, identity)
        is_done = await run_sync(self.folder.mask, identity) is not None
        told = standing(record, is_done) | told_of(revision)
        return JSONResponse(told, headers={"ETag": f'"{revision.revision}"'})

    async def _mask(
        self,
        request: Request,
        sent: tuple[str, BinaryIO],
        params: DrawnParams,
        opened: OpenImage,
        classes: DrawnClasses,
    ) -> DrawnMask:
        (name, file), image = sent, opened.image
        if name.endswith((".bin", ".bin.gz")):
            drawn = partial(_from_bin, file, name, params, image, classes)
            return await self.images.drawing(request, image, BYTES_EACH, drawn)
        if name.endswith("json"):
            decoder, is_rest_ignored = self._models.decoder, params.rest == "ignore"
            return await self.images.drawing(
                request,
                image,
                BYTES_EACH,
                lambda check: from_geojson(file, image, is_rest_ignored, classes, decoder, check),
            )
        label = await self.images.decoded(request, file, image.dims)
        return await self.images.drawing(
            request, image, BYTES_EACH, lambda _: as_file(label, image, None, classes)
        )

    async def restore(self, request: Request) -> Response:
        """``POST /studio/images/ID/restore?revision=N``: an earlier version once more."""
        identity, number = request.path_params["id"], _number(request, "revision")
        author = Author(who=name_of(request))
        expected = _expected(request)
        revision = await run_sync(self.folder.restore, identity, number, author, expected)
        return await self._kept(identity, revision)

    def classes(self) -> DrawnClasses:
        """What is drawn here: what somebody named, or else the classes of the model that answers.

        Raises:
            Problem: 409, nobody named them and there is no model.
        """
        found = self.folder.classes()
        if found is None:
            live = self._models.live(self._models.default_name() or "")
            if live is None:
                raise Problem(409, "name the classes first: PUT /studio/dataset")
            named = [
                {"name": each.name, "color": list(each.color)}
                for each in live.card.classes
                if each.index
            ]
            found = self.folder.begin(named, are_objects=live.card.instances is not None)
        return found


def _from_bin(
    file: BinaryIO, name: str, params: DrawnParams, image: Image, classes: DrawnClasses, _: Check
) -> DrawnMask:
    return from_page(numbers_of(file, name, image), image, params.objects, classes)


def _expected(request: Request) -> int:
    """The version that was drawn on."""
    text = request.headers.get("if-match", "").removeprefix("W/").strip('"')
    if not text:
        raise Problem(
            428, 'say which version you drew on: If-Match: "N", as ETag said it; "0" for none'
        )
    number = whole_number(text)
    if number is None:
        raise Problem(412, "there is no such version; If-Match is what ETag said")
    return number


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "0")
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise Problem(422, f"{name} is a whole number, from 0 on")
    return int(text)


async def _json_body(request: Request) -> bytes:
    return await short_body(request, MOST_JSON, Problem(413, "this is a short JSON object"))
