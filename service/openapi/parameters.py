"""Parameters of requests, as ``/openapi.json`` says them: of paths, headers and the query."""

from collections.abc import Mapping
from typing import Any, get_args

from seg.model_package import CASE_PICTURES, CaseRank
from seg.names import OUTPUT_NAMES
from service.page.routes import page_routes
from service.requests.options import RequestOptions
from service.requests.picture_wish import LONGEST_PICTURE
from service.settings import QualityLevel

Json = dict[str, Any]

TEXT: Json = {"type": "string"}

REQUEST_ID_PARAMETER: Json = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "Comes back in the answer and stands in the log.",
    "schema": {"type": "string", "maxLength": 64},
    "example": "ward-7.0001",
}

PAGE_FILES = sorted(
    path
    for path in (route.path.removeprefix("/page/") for route in page_routes())
    if "/" not in path
)
"""What the page consists of, besides what NiiVue brings."""

PATH_PARAMETERS: Mapping[str, Json] = {
    "job": {"schema": TEXT, "example": "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmE"},
    "id": {"schema": TEXT, "example": "well-7"},
    "name": {"schema": TEXT, "example": "nuclei"},
    "version": {"schema": TEXT, "example": "latest"},
    "number": {"schema": {"type": "string", "pattern": "^[0-9]+$"}, "example": "0"},
    "rank": {"schema": {"type": "string", "enum": list(get_args(CaseRank))}, "example": "worst"},
    "what": {"schema": {"type": "string", "enum": list(CASE_PICTURES)}, "example": "image"},
    "file": {"schema": {"type": "string", "enum": PAGE_FILES}, "example": "page.css"},
}


def options_but(*left_out: str) -> tuple[Json, ...]:
    """Options of the query, from the fields that are checked."""
    schema = RequestOptions.model_json_schema()
    return tuple(
        {
            "name": name,
            "in": "query",
            "description": field.get("description", ""),
            "style": "form",
            "explode": False,
            "schema": _SCHEMA_OF_OPTION.get(name) or _without_null(field),
            "example": _EXAMPLES[name],
        }
        for name, field in schema["properties"].items()
        if name not in left_out
    )


_SCHEMA_OF_OPTION: Mapping[str, Json] = {
    "format": {"type": "array", "items": {"type": "string", "enum": list(OUTPUT_NAMES)}},
    "quality": {"type": "string", "enum": list(get_args(QualityLevel))},
    "deadline_ms": {"type": "number", "exclusiveMinimum": 0},
}
_EXAMPLES: Mapping[str, Any] = {
    "model": "nuclei:latest",
    "format": ["png", "json"],
    "classes": ["nucleus"],
    "threshold": 0.7,
    "split": True,
    "mirror": True,
    "quality": "full",
    "deadline_ms": 500,
    "measurements": True,
    "series": "1.2.826.0.1.3680043.8.498.1",
    "frame": "t:3",
}


def _without_null(field: Json) -> Json:
    kinds = [kind for kind in field.get("anyOf", []) if kind.get("type") != "null"]
    schema: Json = dict(kinds[0]) if kinds else dict(field)
    return {k: v for k, v in schema.items() if k not in ("title", "description", "default")}


MODEL_PARAMETER = next(option for option in options_but() if option["name"] == "model")
PICTURE_AS: Json = {
    "name": "as",
    "in": "query",
    "description": "npy: the numbers of a flat image, of shape (c, y, x), in place of its picture; "
    "stacks: as JSON, of which frames it is a stack; frames: from `frame` on those that fit into "
    "64 MB, a TIFF file each, as a ZIP file.",
    "schema": {
        "type": "string",
        "enum": ["picture", "npy", "stacks", "frames"],
        "default": "picture",
    },
    "example": "npy",
}
PICTURE_PARAMETERS: tuple[Json, ...] = (
    PICTURE_AS,
    next(option for option in options_but() if option["name"] == "frame"),
    {
        "name": "longest",
        "in": "query",
        "description": "Most pixels along an edge: every second, third, ... is shown where there "
        "are more, of a pyramid a coarser level.",
        "schema": {"type": "integer", "minimum": 1, "maximum": LONGEST_PICTURE},
        "example": 2048,
    },
    {
        "name": "region",
        "in": "query",
        "description": "Part of a flat image: left,top,width,height in its own pixels.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,9}(,[0-9]{1,9}){3}$"},
        "example": "0,0,512,512",
    },
)
IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same request with the same key makes no second job.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "example": "a-random-text",
}

SHARE: Json = {
    "name": "share",
    "in": "query",
    "description": "Of the requests that name no version; without it all, once it is proven.",
    "schema": {"type": "number", "minimum": 0, "maximum": 1},
    "example": 0.1,
}
LIST_PARAMETERS: tuple[Json, ...] = (
    {
        "name": "limit",
        "in": "query",
        "description": "Most jobs of an answer.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100},
        "example": 20,
    },
    {
        "name": "after",
        "in": "query",
        "description": "Where the list before ended, as its next says; or a job.",
        "schema": TEXT,
        "example": PATH_PARAMETERS["job"]["example"],
    },
)
