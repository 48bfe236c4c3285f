"""``/studio/train`` and ``/studio/proposal``: a model that learns of what people drew."""

from functools import partial
from typing import Annotated, Any

from anyio.to_thread import run_sync
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seg.frozen import FrozenData
from service.middleware.caller import may
from service.problems.response import Problem
from service.requests.bodies import short_body
from service.studio.bodies import checked
from service.studio.training_task import TrainingTask
from service.studio.trainings import Trainings

MOST_JSON = 10_000


class TrainingOrder(FrozenData):
    """``POST /studio/train``; an empty body is all of its defaults."""

    model: Annotated[str, Field(max_length=200)] | None = None
    """That is trained on; None is the one that answers, or makes the first."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """No more than ``SEG_TRAIN_MINUTES``, which None means."""
    steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """A fixed number in place of minutes."""
    promote: bool = False
    """Let the new model answer by itself where a paired test is sure that it is better."""


class ProposalAnswer(FrozenData):
    """``POST /studio/proposal``."""

    accept: bool


class StudioTrainings:
    """The routes."""

    def __init__(self, trainings: Trainings | None) -> None:
        self._trainings = trainings

    def routes(self) -> list[Route]:
        """For an application."""
        return [
            Route("/studio/train", self.train, methods=["POST"]),
            Route("/studio/train", self.training, methods=["GET"]),
            Route("/studio/train", self.stop, methods=["DELETE"]),
            Route("/studio/proposal", self.proposal, methods=["GET"]),
            Route("/studio/proposal", self.decide, methods=["POST"]),
            Route("/studio/proposal/report", self.report, methods=["GET"]),
        ]

    @property
    def _offered(self) -> Trainings:
        if self._trainings is None:
            raise Problem(
                404, "no training is offered here: SEG_MODELS and SEG_TRAIN_MINUTES offer it"
            )
        return self._trainings

    async def train(self, request: Request) -> Response:
        """``POST /studio/train``: train on what is done, in a process of low priority."""
        trainings = self._offered
        too_long = Problem(413, "an order of a training is short JSON")
        body = await short_body(request, MOST_JSON, too_long)
        order = checked(TrainingOrder, body or b"{}", "an order")
        minutes = trainings.minutes if order.minutes is None else order.minutes
        if minutes > trainings.minutes:
            raise Problem(422, f"a training may take {trainings.minutes:g} minutes here")
        if order.promote and not may(request.scope, "promote"):
            raise Problem(
                403, "this key lacks the scope promote: without it a training can propose only"
            )
        start = partial(
            trainings.start,
            order.model,
            order.model_dump(exclude_none=True),
            minutes=minutes,
            steps=order.steps,
            promotes=order.promote,
        )
        return JSONResponse((await run_sync(start)).told(), 202)

    async def training(self, _: Request) -> Response:
        """``GET /studio/train``: how far the last one is, and what is proposed."""
        return JSONResponse(await run_sync(self._told))

    def _told(self) -> dict[str, Any]:
        trainings = self._trainings
        task = trainings.current() if trainings else None
        return {
            "offered": trainings is not None,
            "minutes": trainings.minutes if trainings else None,
            "training": task.told() | task.spent if task else None,
            "proposal": _shown(trainings.proposal()) if trainings else None,
        }

    async def stop(self, _: Request) -> Response:
        """``DELETE /studio/train``: stop it; the model that answers stays."""
        task: TrainingTask | None = await run_sync(self._offered.stop)
        if task is None:
            raise Problem(404, "no training runs here")
        return JSONResponse(task.told())

    async def proposal(self, _: Request) -> Response:
        """``GET /studio/proposal``: a better model that waits for somebody to agree."""
        found = await run_sync(self._offered.proposal)
        if found is None:
            raise Problem(404, "nothing is proposed now")
        return JSONResponse(_shown(found))

    async def decide(self, request: Request) -> Response:
        """``POST /studio/proposal``: let it answer, or forget it."""
        too_long = Problem(413, "an answer is short JSON")
        body = await short_body(request, MOST_JSON, too_long)
        answer = checked(ProposalAnswer, body, "an answer")
        version = await run_sync(self._offered.decide, answer.accept)
        return JSONResponse({"answers": version.label if version else None})

    async def report(self, _: Request) -> Response:
        """``GET /studio/proposal/report``: how both compare, as Markdown."""
        text = await run_sync(self._offered.report)
        return Response(text, media_type="text/markdown")


def _shown(found: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if found is None else {k: v for k, v in found.items() if k != "package"}
