"""All routes of the studio, and what ``/openapi.json`` says of them."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel
from starlette.routing import Route

from service.models.registry import ModelRegistry
from service.openapi.parameters import TEXT, Json
from service.openapi.table import BINARY, Operation
from service.page.routes import studio_page
from service.routes.segment import PublicRoutes
from service.studio.bodies import DrawnParams, NewDataset
from service.studio.measured import FORMATS, StudioCounts
from service.studio.model_routes import BOX, PREDICTED_DICE, RepairParams, StudioModels
from service.studio.next_route import NextImages
from service.studio.on_disk.studio_folder import StudioFolder
from service.studio.routes import IMAGE, Studio
from service.studio.training_routes import ProposalAnswer, StudioTrainings, TrainingOrder
from service.studio.trainings import Trainings

SCHEMAS: tuple[type[BaseModel], ...] = (
    DrawnParams, NewDataset, ProposalAnswer, RepairParams, TrainingOrder,
)  # fmt: skip
"""Types of what is sent."""
SCOPE, TRAIN, PROMOTE = "annotate", "train", "promote"
READS = (404, 409, 415, 422, 504)
ASKS = (*READS, 400, 502)
"""Problems of what opens an image, and of what asks a model as well."""
VERSION = "Version of what is drawn."
IF_MATCH: Json = {
    "name": "If-Match",
    "in": "header",
    "description": 'The version that was drawn on, as ETag said it; "0" for none.',
    "schema": {"type": "string", "pattern": '^"[0-9]{1,9}"$'},
    "example": '"0"',
}


def _query(name: str, description: str, schema: Json, example: object) -> Json:
    told = {"description": description, "schema": schema, "example": example}
    return {"name": name, "in": "query", **told}


def _json(description: str) -> Json:
    return {"description": description, "content": {"application/json": {"schema": {}}}}


def _bytes(description: str) -> Json:
    content = {"application/octet-stream": {"schema": BINARY}}
    return {"description": description, "content": content}


def _sent(model: type[BaseModel], *, is_needed: bool = True) -> Json:
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"required": is_needed, "content": {"application/json": {"schema": schema}}}


def _form(**parts: Json) -> Json:
    needed = [name for name, part in parts.items() if part is BINARY]
    schema = {"type": "object", "required": needed, "properties": parts}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


def _params(model: type[BaseModel]) -> Json:
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}


_NUMBER: Json = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
_MODEL = _query("model", "That is asked; the default one where none is named.", TEXT, "nuclei")
_OBJECTS = {"X-Objects": "JSON: the class of each object."}
_OF_MODEL = {"X-Segmentation-Model": "`name:version` of the model, percent-encoded."}

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/studio"): Operation(
        answers={200: {"description": "The page.", "content": {"text/html": {"schema": TEXT}}}},
        scope=None,
    ),
    ("GET", "/studio/dataset"): Operation(
        answers={200: _json("Classes, and how many images there are, done and held back.")},
        problems=(409,),
        scope=SCOPE,
    ),
    ("PUT", "/studio/dataset"): Operation(
        answers={201: _json("What is drawn here.")},
        problems=(400, 409, 422),
        body=_sent(NewDataset),
        scope=SCOPE,
    ),
    ("GET", "/studio/images"): Operation(
        answers={200: _json("Images: state, revision, done, held_back.")},
        problems=(409, 415, 422),
        scope=SCOPE,
    ),
    ("GET", IMAGE): Operation(
        answers={200: _json("Its shape, spacing, channels, content, and the versions.")},
        problems=READS,
        scope=SCOPE,
        headers={"ETag": VERSION},
    ),
    ("PUT", IMAGE): Operation(
        answers={201: _json("Its id."), 200: _json("Its id: it is there already.")},
        problems=(400, 404, 409, 415, 422),
        body=_form(file=BINARY),
        scope=SCOPE,
    ),
    ("DELETE", IMAGE): Operation(
        answers={204: {"description": "It is taken away, with all that was drawn on it."}},
        problems=(404, 409, 422),
        scope="admin",
    ),
    ("GET", f"{IMAGE}/slice"): Operation(
        answers={200: _bytes("8 bits a pixel, or 24 of a picture in colour.")},
        problems=READS,
        parameters=(
            _query("z", "Which slice.", _NUMBER, 0),
            _query("channel", "Which channel.", _NUMBER, 0),
        ),
        scope=SCOPE,
        headers={"X-Slice-Size": "Width and height."},
    ),
    ("GET", f"{IMAGE}/label"): Operation(
        answers={200: _bytes("A label map: 16 bits a voxel; 65535 is what nobody annotated.")},
        problems=READS,
        parameters=(_query("revision", "Which version; 0 for the last.", _NUMBER, 0),),
        scope=SCOPE,
        headers={"ETag": VERSION, **_OBJECTS},
    ),
    ("PUT", f"{IMAGE}/label"): Operation(
        answers={200: _json("The version that was made.")},
        problems=(400, 404, 409, 412, 415, 422, 428, 504),
        parameters=(IF_MATCH,),
        body=_form(label=BINARY, params=_params(DrawnParams)),
        scope=SCOPE,
        headers={"ETag": VERSION},
    ),
    ("POST", f"{IMAGE}/restore"): Operation(
        answers={200: _json("The version that was made.")},
        problems=(404, 409, 412, 422, 428),
        parameters=(IF_MATCH, _query("revision", "That is wanted back.", _NUMBER, 1)),
        scope=SCOPE,
        headers={"ETag": VERSION},
    ),
    ("POST", f"{IMAGE}/suggestion"): Operation(
        answers={200: _bytes("The model's mask as a label map.")},
        problems=ASKS,
        parameters=(_MODEL,),
        scope=SCOPE,
        headers={PREDICTED_DICE: "That the model expects of it.", **_OBJECTS, **_OF_MODEL},
    ),
    ("POST", f"{IMAGE}/repair"): Operation(
        answers={200: _bytes("The numbers within the box that changed.")},
        problems=ASKS,
        body=_form(label=BINARY, seeds=BINARY, params=_params(RepairParams)),
        scope=SCOPE,
        headers={BOX: "Start and stop along each axis.", **_OF_MODEL},
    ),
    ("GET", f"{IMAGE}/objects"): Operation(
        answers={
            200: {
                "description": "Counts, and a row for each object, that people drew or a model "
                "found where nobody did; or a label image of them.",
                "content": {
                    "application/json": {"schema": {}},
                    "image/tiff": {"schema": BINARY},
                    "application/gzip": {"schema": BINARY},
                    "application/octet-stream": {"schema": BINARY},
                },
            }
        },
        problems=ASKS,
        parameters=(
            _MODEL,
            _query(
                "format",
                "JSON, a label image, or a label map.",
                {"type": "string", "enum": [*FORMATS]},
                "json",
            ),
        ),
        scope=SCOPE,
        headers={"ETag": VERSION},
    ),
    ("GET", "/studio/next"): Operation(
        answers={200: _json("Images that are not done, the one that is worth most first.")},
        problems=(404, 409, 415, 422, 504),
        parameters=(
            _query("minutes", "Of a person.", {"type": "number", "exclusiveMinimum": 0}, 30),
        ),
        scope=SCOPE,
    ),
    ("POST", "/studio/train"): Operation(
        answers={202: _json("The training.")},
        problems=(400, 403, 404, 409, 422),
        body=_sent(TrainingOrder, is_needed=False),
        scope=TRAIN,
    ),
    ("GET", "/studio/train"): Operation(
        answers={200: _json("How far the last training is, and what is proposed.")}, scope=SCOPE
    ),
    ("DELETE", "/studio/train"): Operation(
        answers={200: _json("The training.")}, problems=(404, 409), scope=TRAIN
    ),
    ("GET", "/studio/proposal"): Operation(
        answers={200: _json("The proposal.")}, problems=(404, 409), scope=SCOPE
    ),
    ("POST", "/studio/proposal"): Operation(
        answers={200: _json("Who answers.")},
        problems=(400, 404, 409, 422),
        body=_sent(ProposalAnswer),
        scope=PROMOTE,
    ),
    ("GET", "/studio/proposal/report"): Operation(
        answers={
            200: {"description": "How both compare.", "content": {"text/markdown": {"schema": {}}}}
        },
        problems=(404, 409),
        scope=SCOPE,
    ),
}
"""As of ``service.openapi.table``."""


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
    studio = Studio(models, StudioFolder(folder, models.settings.max_studio_bytes))
    helped = StudioModels(models, public, studio)
    return [
        studio_page(),
        *studio.routes(),
        *helped.routes(),
        *StudioCounts(studio, helped).routes(),
        *NextImages(studio, helped).routes(),
        *StudioTrainings(trainings).routes(),
    ]
