"""``GET /studio/next``: which images are worth a person's time now."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seg.errors import ImageError
from seg.inference.trust.worth import ImageLook, described, ranked, soft_dice_of
from service.errors import NotReadyError
from service.problems.response import Problem
from service.studio.model_routes import StudioModels
from service.studio.on_disk.files import state_of
from service.studio.routes import Studio

LOOKING_S = 2.0
"""Seconds that images may take which the model has not seen. The others come after them and are
counted in ``not_seen``; whoever asks again learns more."""


class NextImages:
    """The route; it remembers what a model made of images."""

    def __init__(self, studio: Studio, helped: StudioModels) -> None:
        self._studio = studio
        self._suggestions = helped.suggestions
        self._looks: dict[str, tuple[object, ImageLook]] = {}
        """Of each image the last look, and what it was of: the model and the state of its files."""
        self._looking = asyncio.Lock()

    def routes(self) -> list[Route]:
        """For an application."""
        return [Route("/studio/next", self.next, methods=["GET"])]

    async def next(self, request: Request) -> Response:
        """``GET /studio/next``: images that are not done, the one that is needed most first."""
        minutes = _minutes(request)
        images = await run_sync(self._studio.folder.images)
        masks = await run_sync(self._studio.folder.masks)
        done = [name for name in images if name in masks]
        left = [name for name in images if name not in masks]
        self._looks = {name: look for name, look in self._looks.items() if name in images}
        async with self._looking:  # whoever comes meanwhile finds what was seen
            seen = await self._seen(request, images, left + done) if left else {}
        looks = {name: look for name, look in seen.items() if name not in masks}
        known = [look.described for name, look in seen.items() if name in masks]
        seconds = None if minutes is None else 60 * minutes
        order = await run_sync(ranked, looks, known, seconds)
        told: list[dict[str, Any]] = [{"id": each.name, **each.row} for each in order]
        unseen = [name for name in left if name not in looks]
        if minutes is None or not told:
            told += [{"id": name} for name in unseen]
        return JSONResponse({"images": told, "not_seen": len(unseen)})

    async def _seen(
        self, request: Request, images: Mapping[str, Sequence[Path]], names: Sequence[str]
    ) -> dict[str, ImageLook]:
        """What the model that answers made of images, of new ones as many as time allows."""
        until = monotonic() + LOOKING_S
        looks: dict[str, ImageLook] = {}
        try:
            label = self._suggestions.answering()
        except (NotReadyError, Problem):  # no model answers by itself: any order is as good
            return {}
        for name in names:
            of = (label, await run_sync(state_of, images[name]))
            seen_of, known = self._looks.get(name, (None, None))
            if seen_of != of:
                known = None
            if known is None and monotonic() < until:
                try:
                    classes = await run_sync(self._studio.classes)
                    found = await self._suggestions.get(request, name, label, classes)
                    opened = await self._studio.images.get(request, name)
                except NotReadyError:  # it was taken away meanwhile
                    return {}
                except (ImageError, Problem):  # one that cannot be read hides no other
                    continue
                known = ImageLook(
                    predicted_dice=found.predicted_dice,
                    soft_dice=await run_sync(soft_dice_of, found.probabilities),
                    warnings=found.warnings,
                    objects=len(found.objects) or None,
                    described=await run_sync(described, opened.image, found.probabilities),
                )
                self._looks[name] = of, known
            if known is not None:
                looks[name] = known
        return looks


def _minutes(request: Request) -> float | None:
    text = request.query_params.get("minutes")
    if text is None:
        return None
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < 10_000:
        raise Problem(422, "minutes of a person are a number above 0")
    return minutes
