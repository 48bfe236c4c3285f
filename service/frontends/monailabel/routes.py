"""The routes that 3D Slicer's MONAILabel module and OHIF's plug-in call, at the root as they do.

Errors have the service's own form, whose ``detail`` is the field in which MONAI Label says them.
"""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import BinaryIO
from urllib.parse import parse_qs

from anyio.to_thread import run_sync
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seg.version import VERSION
from service.answers.streams import WholeFile
from service.frontends.monailabel.archived_images import ArchivedImages
from service.frontends.monailabel.datastore import STRATEGIES, Datastore
from service.frontends.monailabel.numbering import Numbering
from service.frontends.monailabel.params import InferParams, params_of, training_params
from service.frontends.monailabel.results import (
    FileKind,
    as_form,
    described,
    mask_file,
    output_of,
    parts_of,
)
from service.frontends.monailabel.sessions import Session, Sessions, ending_of
from service.frontends.monailabel.studies import Studies
from service.middleware.access import KeyRule
from service.middleware.accounting import MODEL_HEADER
from service.middleware.caller import caller_of, may
from service.models.registry import ModelRegistry
from service.models.versions import ModelVersion
from service.problems.response import Problem
from service.requests.bodies import short_body
from service.requests.forms import is_form, whole_form
from service.requests.options import QUALITIES
from service.routes.asking import content_of, decoded, segmented
from service.routes.segment import PublicRoutes
from service.studio.trainings import Trainings

MOST_SLICES = 10_000
"""Files of a session: the slices of a series."""
NO_STATS = {"total": 0, "completed": 0, "label_tags": {}}
MASK_BYTES = 6
"""Of a voxel, while a mask is written: its number, that in the type asked for, and the file."""
MOST_LOGIN = 10_000
"""Bytes of a log-in, and of the parameters of a training."""
TRAINER = {
    "description": "trains on from the model; the new one answers where it is better",
    "config": {},
}


@dataclass
class _Asked:
    """What ``POST /infer/MODEL`` brings."""

    params: InferParams
    files: list[BinaryIO]
    ending: str
    """Of the image's name."""
    series: str | None = None
    """The one that an archive was asked for."""


class MonaiLabel:
    """MONAI Label's contract, on top of ``POST /segment``."""

    def __init__(
        self, models: ModelRegistry, public: PublicRoutes, trainings: Trainings | None
    ) -> None:
        settings = models.settings
        self._models = models
        self._public = public
        self._sessions = Sessions(settings.sessions, settings.max_uploads_bytes)
        self._keys = KeyRule(settings)
        self._archived = ArchivedImages(settings)
        folder = settings.drawn_folder
        self._datastore = (
            Datastore(models, public, Studies(folder, settings.max_studio_bytes))
            if folder
            else None
        )
        self._trainings = trainings

    def routes(self) -> list[Route]:
        """For an application."""
        return [
            Route("/info/", self.info, methods=["GET"]),
            Route("/auth/", self.auth, methods=["GET"]),
            Route("/auth/token", self.token, methods=["POST"]),
            Route("/auth/token/valid", self.valid, methods=["GET"]),
            Route("/session/", self.begin, methods=["PUT"]),
            Route("/session/{session}", self.session, methods=["GET"]),
            Route("/session/{session}", self.end, methods=["DELETE"]),
            Route("/infer/{model}", self.infer, methods=["POST"]),
            Route("/train/", self.training, methods=["GET"]),
            Route("/train/", self.stop, methods=["DELETE"]),
            Route("/train/", self.train, methods=["POST"]),
            Route("/train/{model}", self.train, methods=["POST"]),
            *(self._datastore.routes() if self._datastore else ()),
        ]

    async def info(self, _: Request) -> Response:
        """``GET /info/``: what there is. A ``config`` beside the models would make Slicer stop."""
        names = sorted({version.card.name for version in self._models.versions()})
        live = {name: found for name in names if (found := self._models.live(name))}
        store = self._datastore
        strategies = STRATEGIES if store else {}
        stats = await run_sync(store.stats) if store else NO_STATS
        default = live.get(self._models.default_name() or "") or next(iter(live.values()), None)
        return JSONResponse(
            {
                "name": "seg",
                "description": "Residual U-Nets. Research software, not a medical device.",
                "version": VERSION,
                "labels": dict(Numbering.of(default.card).labels) if default else {},
                "models": {name: _model_told(version) for name, version in live.items()},
                "trainers": dict.fromkeys(live, TRAINER) if self._trainings else {},
                "strategies": {name: {"description": text} for name, text in strategies.items()},
                "scoring": {},
                "train_stats": {},
                "datastore": stats,
            }
        )

    async def auth(self, request: Request) -> Response:
        """``GET /auth/``: whether a key is asked for."""
        return JSONResponse({"enabled": self._keys.asks(request.scope)})

    async def token(self, request: Request) -> Response:
        """``POST /auth/token``: a key, sent as the password, is the token."""
        too_long = Problem(413, "a log-in has a name and a key, not more")
        body = await short_body(request, MOST_LOGIN, too_long)
        fields = parse_qs(body.decode("utf-8", "replace"))
        key = fields.get("password", [""])[0]
        await run_sync(self._keys.holder, key)
        return JSONResponse({"access_token": key, "token_type": "Bearer"})

    async def valid(self, _: Request) -> Response:
        """``GET /auth/token/valid``: the key was taken, or this would not be asked."""
        return JSONResponse({"valid": True})

    async def begin(self, request: Request) -> Response:
        """``PUT /session/``: keep an image for the requests to come."""
        try:
            expiry_s = float(request.query_params.get("expiry") or 0)
        except ValueError:
            raise Problem(422, "expiry is a number of seconds") from None
        async with whole_form(request, most_files=MOST_SLICES) as form:
            files = [
                (part.filename or "", part.file)
                for name, part in form.multi_items()
                if name == "files" and isinstance(part, UploadFile)
            ]
            begin = partial(self._sessions.begin, _owner(request), files, expiry_s)
            identity, session = await run_sync(begin)
        told = {"session_id": identity, "session_info": _session_told(session)}
        return JSONResponse(told)

    async def session(self, request: Request) -> Response:
        """``GET /session/ID``: what is known of a session, or its image."""
        image, session = await run_sync(
            self._sessions.get, request.path_params["session"], _owner(request)
        )
        if _is_set(request, "update_ts"):
            await run_sync(self._sessions.touch, image)
        if _is_set(request, "image"):
            return WholeFile(image, filename=f"image{session.ending or '.zip'}")
        return JSONResponse(_session_told(session))

    async def end(self, request: Request) -> Response:
        """``DELETE /session/ID``: forget an image."""
        session = await run_sync(
            self._sessions.end, request.path_params["session"], _owner(request)
        )
        return JSONResponse(_session_told(session))

    async def infer(self, request: Request) -> Response:
        """``POST /infer/MODEL``: the mask of an image of a session or of the request."""
        begun = perf_counter()
        output = output_of(request.query_params.get("output"))
        version = self._models.choose(request.path_params["model"])
        async with self._asked(request) as asked:
            return await self._answer(request, version, asked, output, begun)

    async def _answer(
        self, request: Request, version: ModelVersion, asked: _Asked, output: str, begun: float
    ) -> Response:
        card, params = version.card, asked.params
        numbering = every = Numbering.of(card)
        if params.label_prompt is not None:
            numbering = every.chosen(params.label_prompt)
        ending = params.ending(asked.ending, card.input.dims)
        query = params.query(version.label) | {"format": "nifti,json"}
        if params.label_prompt is not None:
            query["classes"] = ",".join(entry.name for entry in numbering.classes)
        if output == "dicom_seg":
            query["format"] = "dicom-seg"
        if asked.series is not None:
            query["series"] = asked.series
        answer = await segmented(self._public, request, query, asked.files)
        headers = {MODEL_HEADER: answer.headers[MODEL_HEADER]}
        content = await content_of(answer)
        if output == "dicom_seg":
            return Response(content, headers=headers, media_type="application/dicom")
        shown = every if params.restore_label_idx else numbering
        nifti, summary = await run_sync(parts_of, content)
        told = described(summary, shown.labels, version.label, perf_counter() - begun)
        if output == "json":
            return JSONResponse(told, headers=headers)
        kind = FileKind(ending, params.result_dtype, params.result_compress)
        background = next(entry for entry in card.classes if not entry.index)
        grid = await decoded(self._models, self._public, request, version, [io.BytesIO(nifti)])

        def written() -> bytes:
            with self._models.decoder.room(MASK_BYTES * grid.array.size, grid):
                return mask_file(grid, shown, background, kind)

        file = await run_sync(written)
        if output == "image":
            headers["Content-Disposition"] = f'attachment; filename="mask{ending}"'
            return Response(file, headers=headers, media_type="application/octet-stream")
        body, media_type = as_form(told, file, ending)
        return Response(body, headers={**headers, "Content-Type": media_type})

    @asynccontextmanager
    async def _asked(self, request: Request) -> AsyncIterator[_Asked]:
        if not is_form(request):
            async with self._images(request, InferParams(), FormData()) as found:
                yield found
            return
        async with whole_form(request) as form:
            text = form.get("params", "")
            if not isinstance(text, str):
                raise Problem(422, "params is a field without a file name")
            params = params_of(text)
            async with self._images(request, params, form) as found:
                yield found

    @asynccontextmanager
    async def _images(
        self, request: Request, params: InferParams, form: FormData
    ) -> AsyncIterator[_Asked]:
        """The image of the session, or else that of the form, of the datastore, or an archive."""
        identity = request.query_params.get("session_id")
        if identity:
            path, session = await run_sync(self._sessions.get, identity, _owner(request))
            await run_sync(self._sessions.touch, path)
            with path.open("rb") as file:
                yield _Asked(params, [file], session.ending)
            return
        part = form.get("file")
        if isinstance(part, UploadFile):
            yield _Asked(params, [part.file], ending_of(part.filename or ""))
            return
        known = request.query_params.get("image", "")
        store = self._datastore
        is_kept = store is not None and await run_sync(store.has, known)
        if not is_kept and self._archived.may_have(known):
            async with self._archived.opened(request, known) as file:
                yield _Asked(params, [file], "", series=known)
            return
        if not known or store is None:
            raise Problem(
                422,
                "there is no image: name a session (session_id), an image of the datastore "
                "(SEG_STUDIES) or a series of an archive (SEG_DICOMWEB), or send a part named file",
            )
        async with store.opened(known) as found:
            yield _Asked(params, *found)

    async def train(self, request: Request) -> Response:
        """``POST /train/``: train the model that answers on what people have drawn."""
        if self._trainings is None:
            raise Problem(
                404,
                "no training is offered here: SEG_STUDIES, SEG_MODELS and SEG_TRAIN_MINUTES "
                "offer it; python -m training.fit trains a package",
            )
        too_long = Problem(413, "the parameters of a training are short JSON")
        params = training_params(await short_body(request, MOST_LOGIN, too_long))
        name = request.path_params.get("model") or params.get("model")
        name = name if isinstance(name, str) else None
        promotes = may(request.scope, "promote")  # else it proposes
        start = partial(self._trainings.start, name, params, promotes=promotes)
        return JSONResponse((await run_sync(start)).told())

    async def training(self, request: Request) -> Response:
        """``GET /train/``: how far it is; 404 where there is none."""
        task = self._trainings.current() if self._trainings else None
        is_over = task is not None and task.status != "RUNNING"
        if task is None or (is_over and _is_set(request, "check_if_running")):
            raise Problem(404, "no training runs here")
        return JSONResponse(task.told())

    async def stop(self, _: Request) -> Response:
        """``DELETE /train/``: stop it; the model that answers stays."""
        task = await run_sync(self._trainings.stop) if self._trainings else None
        if task is None:
            raise Problem(404, "no training runs here")
        return JSONResponse(task.told())


def _model_told(version: ModelVersion) -> dict[str, object]:
    card = version.card
    config: dict[str, object] = {"quality": list(QUALITIES), "threshold": 0.0}
    if card.mirrors:
        config["mirror"] = False
    return {
        "type": "segmentation",
        "labels": dict(Numbering.of(card).labels),
        "dimension": card.input.dims,
        "description": f"{card.name} {card.version}; threshold 0 is the model's own",
        "config": config,
    }


def _session_told(session: Session) -> dict[str, object]:
    return {
        "name": f"image{session.ending}",
        "files": session.files,
        "size": session.size,
        "create_ts": int(session.created),
        "expiry": int(session.expiry_s),
    }


def _owner(request: Request) -> str:
    caller = caller_of(request.scope)
    return caller.owner if caller else ""


def _is_set(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in ("true", "1", "yes")
