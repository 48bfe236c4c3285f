"""All routes of the studio."""

from pathlib import Path

from starlette.routing import Route

from service.models.registry import ModelRegistry
from service.page.routes import studio_page
from service.routes.segment import PublicRoutes
from service.studio.folder import StudioFolder
from service.studio.model_routes import StudioModels
from service.studio.next_route import NextImages
from service.studio.routes import Studio
from service.studio.training_routes import StudioTrainings
from service.studio.trainings import Trainings


def studio_routes(
    models: ModelRegistry, public: PublicRoutes, folder: Path, trainings: Trainings | None
) -> list[Route]:
    """For an application.

    Args:
        models: that suggest.
        public: what they answer by.
        folder: in which people draw.
        trainings: on it; None offers none.
    """
    studio = Studio(models, StudioFolder(folder))
    helped = StudioModels(models, public, studio)
    return [
        studio_page(),
        *studio.routes(),
        *helped.routes(),
        *NextImages(studio, helped).routes(),
        *StudioTrainings(trainings).routes(),
    ]
