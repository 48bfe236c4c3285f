"""What ``/openapi.json`` says of each method of each route, beyond what the code says itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel

from seg.client.schemas import (
    JobListing,
    JobStatus,
    ModelEntry,
    ModelListing,
    RuleChange,
    ServedCard,
)
from seg.inference import outputs_for
from seg.names import FRAME_AXES
from service.openapi.parameters import (
    IDEMPOTENCY_KEY,
    LIST_PARAMETERS,
    MODEL_PARAMETER,
    PICTURE_PARAMETERS,
    SHARE,
    TEXT,
    Json,
    options_but,
)
from service.requests.formats import CONTAINER_TYPES

PATH = "/openapi.json"
BINARY: Json = {"type": "string", "contentMediaType": "application/octet-stream"}
PROBLEMS: Mapping[int, str] = {
    400: "The body is no form that can be read, or has more than 64 files.",
    401: "A key is needed here, or this one is not known.",
    403: "The key lacks the scope.",
    404: "There is no such model, version or job.",
    406: "No format meets the Accept header.",
    408: "The body did not arrive in time, or its upload stood still.",
    409: "Not in this state: a job without result, a request on its way, a model that answers.",
    412: "Another version is there than the one that this was made of.",
    413: "Too many bytes, or too many pixels or voxels after decoding.",
    415: "The content is no image, or of a format that is not read.",
    422: "The image is damaged or does not fit the model, or an option cannot be what it is.",
    428: "Say of which version this was made: If-Match.",
    429: "This client asks too often, has too much in flight, or too much in its jobs.",
    500: "The service failed; its log has the place under the answer's X-Request-ID.",
    502: "The address of an image did not give it.",
    503: "Not ready, or full.",
    504: "It took too long and was stopped.",
    507: "Images and answers of jobs take all the room that they may have.",
}
"""Every error that an answer can be."""

WAIT = frozenset({409, 429, 503, 507})
"""Those that tell when to come back."""

ALWAYS = (413, 500)
GUARDED = (401, 403, 503)
COUNTED = (408, 413, 429, 503)
UPLOAD = (400, 404, 406, 422, 502, 504)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What the table says of a method of a route."""

    answers: Mapping[int, Json]
    problems: tuple[int, ...] = ()
    parameters: tuple[Json, ...] = ()
    body: Json | None = None
    scope: str | None = "segment"
    """Of the key that may ask; None where anybody may."""
    headers: Mapping[str, str] = field(default_factory=dict)


SUMMARIES = {
    "/": "The web page",
    "/page/{file}": "A file of the web page",
    "/schema.json": "What clients of BentoML read",
    "/studio": "The page in which people draw",
    "/docs.json": "BentoML's own description of /infer_patches",
}


def ref(model: type[BaseModel]) -> Json:
    """Where the schema of a type is."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _json_of(model: type[BaseModel], description: str) -> Json:
    return {"description": description, "content": {"application/json": {"schema": ref(model)}}}


def _of(description: str, **types: Json) -> Json:
    content = {name.replace("__", "/"): {"schema": schema} for name, schema in types.items()}
    return {"description": description, "content": content}


_FILES: Json = {"type": "array", "items": BINARY}
_URLS: Json = {"type": "array", "items": {"type": "string", "format": "uri"}}
IMAGES: Json = {
    "description": "The images; what a file is, its content says.",
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "additionalProperties": False,
                "minProperties": 1,
                "properties": {
                    "image": _FILES | {"description": "The files of one image, one a channel."},
                    "images": _FILES | {"description": "Files that are an image each."},
                    "url": _URLS | {"description": "Addresses of the files of one image."},
                    "urls": _URLS | {"description": "Addresses of files that are an image each."},
                },
            }
        },
        "application/octet-stream": {"schema": BINARY},
    },
}

_MASKS = {o.media_type.partition(";")[0] for dims in (2, 3) for o in outputs_for(dims).values()}
_ANY_MASK: Json = {
    "description": "The mask, or what holds several files; `Accept` chooses where no format does.",
    "content": {
        name: {"schema": {} if "json" in name else TEXT if name.startswith("text") else BINARY}
        for name in sorted({*_MASKS, *CONTAINER_TYPES.values()})
    },
}
QUALITY = {"X-Segmentation-Quality": "JSON: what the model knows of the mask."}
ANSWERED = QUALITY | {
    "X-Segmentation-Model": "`name:version` of the model, percent-encoded.",
    "X-Segmentation-Variant": "The variant of the network, and its mean Dice.",
    "X-Segmentation-Precision": "Of the network's arithmetic, e.g. bfloat16.",
    "X-Segmentation-Failed": "Of several images, how many have no mask.",
}
_STACKS: Json = {
    "type": "object",
    "required": ["stacks"],
    "properties": {
        "stacks": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["axis", "count", "channels"],
                "properties": {
                    "axis": {"type": "string", "enum": list(FRAME_AXES)},
                    "count": {"type": "integer", "minimum": 2},
                    "channels": {"type": "integer", "minimum": 1},
                },
            },
        }
    },
}
_JOB = _json_of(JobStatus, "The job.")
_EVENTS: Json = {
    "description": "`progress` whenever something changes, `end` in the end, each a job as JSON.",
    "content": {
        "text/event-stream": {
            "schema": {},  # readers hold each event to it, or the whole text: both are right
            "example": 'event: progress\ndata: {"state": "running", "progress": 0.5}\n\n',
        }
    },
}
_PAGE = {
    200: _of("The file.", **{
        f"text__{name}": TEXT for name in ("html", "css", "javascript", "plain")
    } | {"application__json": {}, "image__svg+xml": TEXT}),
    304: {"description": "The one that the client has is still right."},
}  # fmt: skip
_NATIVE = {200: _of("As BentoML answers.", application__json={})}

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/"): Operation(answers=_PAGE, scope=None),
    ("GET", "/page/{file}"): Operation(answers=_PAGE, problems=(404,), scope=None),
    ("POST", "/segment"): Operation(
        answers={200: _ANY_MASK},
        problems=(*UPLOAD, 415),
        parameters=options_but(),
        body=IMAGES,
        headers=ANSWERED,
    ),
    ("POST", "/picture"): Operation(
        answers={
            200: _of(
                "The picture.",
                **{
                    "image__png": BINARY,
                    "application__x-nifti": BINARY,
                    "application__x-npy": BINARY,
                    "application__zip": BINARY,
                    "application__json": _STACKS,
                },
            )
        },
        problems=(*UPLOAD, 415),
        parameters=(MODEL_PARAMETER, *PICTURE_PARAMETERS),
        headers={"X-Picture-Size": "Pixels of the whole image along x, y (and z)."},
        body=IMAGES,
    ),
    ("POST", "/jobs"): Operation(
        answers={202: _JOB},
        problems=(*UPLOAD, 409, 507),
        parameters=(*options_but("quality", "deadline_ms"), IDEMPOTENCY_KEY),
        body=IMAGES,
        scope="jobs",
        headers={"Location": "The job.", "Retry-After": "Seconds."},
    ),
    ("GET", "/jobs"): Operation(
        answers={200: _json_of(JobListing, "Jobs of whoever asks, the newest first.")},
        problems=(403, 422),
        parameters=LIST_PARAMETERS,
        scope="jobs",
    ),
    ("GET", "/jobs/{job}"): Operation(answers={200: _JOB}, problems=(404,), scope="jobs"),
    ("DELETE", "/jobs/{job}"): Operation(
        answers={204: {"description": "It is deleted."}}, problems=(404,), scope="jobs"
    ),
    ("GET", "/jobs/{job}/result"): Operation(
        answers={200: _ANY_MASK},
        problems=(404, 409, 415, 422, 504),
        scope="jobs",
        headers=QUALITY,
    ),
    ("GET", "/jobs/{job}/events"): Operation(
        answers={200: _EVENTS}, problems=(404, 429), scope="jobs"
    ),
    ("GET", "/model"): Operation(
        answers={200: _json_of(ServedCard, "The card.")},
        problems=(404,),
        parameters=(MODEL_PARAMETER,),
    ),
    ("GET", "/models"): Operation(answers={200: _json_of(ModelListing, "All models.")}),
    ("GET", "/models/{name}"): Operation(
        answers={
            200: _json_of(ModelEntry, "The model."),
            303: {"description": "A browser is led to a page that people can read."},
        },
        problems=(404,),
    ),
    ("GET", "/models/{name}/versions/{version}/example/{number}"): Operation(
        answers={
            200: _of(
                "A file of the image that the model may be tried with.",
                **{"application__octet-stream": BINARY},
            )
        },
        problems=(404,),
    ),
    ("GET", "/models/{name}/versions/{version}/cases/{rank}/{what}"): Operation(
        answers={
            200: _of(
                "The image of a test case, its reference or what the model made of it.",
                **{"image__webp": BINARY},
            )
        },
        problems=(404,),
    ),
    ("PUT", "/models/{name}"): Operation(
        answers={201: _json_of(ModelEntry, "The model; the new version is proven.")},
        problems=(400, 404, 409, 422),
        parameters=(SHARE,),
        body={
            "description": "A ZIP file of the package's folder.",
            "required": True,
            "content": {"application/octet-stream": {"schema": BINARY}},
        },
        scope="admin",
        headers={"Location": "The version."},
    ),
    ("PATCH", "/models/{name}"): Operation(
        answers={200: _json_of(ModelEntry, "The model.")},
        problems=(404, 409, 422),
        body={"required": True, "content": {"application/json": {"schema": ref(RuleChange)}}},
        scope="admin",
    ),
    ("POST", "/models/{name}/rollback"): Operation(
        answers={200: _json_of(ModelEntry, "The model, pinned to the version before.")},
        problems=(404, 409),
        scope="promote",
    ),
    ("DELETE", "/models/{name}/versions/{version}"): Operation(
        answers={204: {"description": "It is deleted."}}, problems=(404, 409), scope="admin"
    ),
    ("GET", "/models/{name}/versions/{version}"): Operation(
        answers={200: _json_of(ServedCard, "The card.")}, problems=(404,)
    ),
    ("GET", "/livez"): Operation(
        answers={200: _of("alive", text__plain=TEXT)}, problems=(503,), scope=None
    ),
    ("GET", "/readyz"): Operation(
        answers={200: _of("ready", text__plain=TEXT)}, problems=(503,), scope=None
    ),
    ("GET", "/metrics"): Operation(
        answers={200: _of("For Prometheus.", text__plain=TEXT)}, scope="metrics"
    ),
    ("GET", PATH): Operation(
        answers={200: _of("OpenAPI 3.1.", application__json={"type": "object"})}, scope=None
    ),
    ("POST", "/infer_patches"): Operation(
        answers={200: _of("Logits, in lists of numbers.", application__json={"type": "array"})},
        body={"content": {"application/json": {"schema": {"type": "object"}}}},
        problems=(400, 404, 413, 415, 422, 503, 504),
    ),
    ("GET", "/schema.json"): Operation(answers=_NATIVE),
    ("GET", "/docs.json"): Operation(answers=_NATIVE),
}
