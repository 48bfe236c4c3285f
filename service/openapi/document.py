"""``GET /openapi.json``: all that the service answers, as OpenAPI 3.1.

Made from the routes themselves, the types of their answers and `service.openapi.table`; a route
that the table does not know keeps the service from starting.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from seg.client.schemas import (
    JobListing,
    JobStatus,
    ModelEntry,
    ModelListing,
    ProblemDocument,
    RuleChange,
    ServedCard,
)
from seg.version import VERSION
from service.openapi.parameters import PATH_PARAMETERS, REQUEST_ID_PARAMETER, TEXT, Json
from service.openapi.table import (
    ALWAYS,
    COUNTED,
    GUARDED,
    OPERATIONS,
    PATH,
    PROBLEMS,
    SUMMARIES,
    WAIT,
    Operation,
    ref,
)
from service.problems.document import MEDIA_TYPE, problem
from service.requests.proxies import link

SCHEMAS: tuple[type[BaseModel], ...] = (
    JobListing, JobStatus, ModelEntry, ModelListing, ProblemDocument, RuleChange, ServedCard,
)  # fmt: skip


def describe_routes(
    routes: Iterable[Route],
    more: Mapping[tuple[str, str], Operation] | None = None,
    schemas: Sequence[type[BaseModel]] = (),
) -> Json:
    """The document of these routes.

    Args:
        routes: of the application.
        more: what is said of routes beside those of the table.
        schemas: types that these name.

    Raises:
        KeyError: a route is not in the table.
    """
    operations = {**OPERATIONS, **(more or {})}
    paths: Json = {}
    for route in routes:
        path = "/page/{file}" if route.path.startswith("/page/") else route.path
        known = {method for method, of in operations if of == path}
        if not known:
            raise KeyError(path)
        for method in sorted((route.methods or known) - {"HEAD"}):
            entry = paths.setdefault(path, {})
            described = operations[method, path]
            entry[method.lower()] = _operation(path, method, route.endpoint, described)
    _, definitions = models_json_schema(
        [(each, "serialization") for each in (*SCHEMAS, *schemas)],
        ref_template="#/components/schemas/{model}",
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Segmentation",
            "version": VERSION,
            "description": "Images in, masks out. Research software, not a medical device.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "responses": {str(status): _problem_answer(status) for status in PROBLEMS},
            "headers": {"X-Request-ID": REQUEST_ID_HEADER},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


class OpenApi:
    """The route that tells of all others."""

    def __init__(self) -> None:
        self._document: Json = {}
        self._sent: tuple[str, bytes] | None = None

    def route(self) -> Route:
        """For an application."""
        return Route(PATH, self.show, methods=["GET"])

    def describe(
        self,
        routes: Iterable[Route],
        more: Mapping[tuple[str, str], Operation] | None = None,
        schemas: Sequence[type[BaseModel]] = (),
    ) -> None:
        """These are the routes, as of ``describe_routes``."""
        self._document = describe_routes(routes, more, schemas)

    async def show(self, request: Request) -> Response:
        """``GET /openapi.json``: this description."""
        return Response(self._written(link(request.scope, "")), media_type="application/json")

    def _written(self, address: str) -> bytes:
        """As it is sent, below an address: what a proxy in front calls us, which stays."""
        if self._sent is None or self._sent[0] != address:
            document = self._document | {"servers": [{"url": address}]}
            self._sent = address, json.dumps(document).encode()
        return self._sent[1]


REQUEST_ID_HEADER: Json = {
    "description": "The client's own, or a new one; the log has it as well.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
}


def _operation(path: str, method: str, endpoint: Any, described: Operation) -> Json:
    name = getattr(endpoint, "__name__", "native")
    first = (getattr(endpoint, "__doc__", None) or "").partition("\n")[0]
    summary = first.partition(": ")[2].rstrip(".") if name != "native" else ""
    statuses = {*described.problems, *ALWAYS}
    if described.scope:
        statuses |= set(GUARDED)
    if method != "GET":
        statuses |= set(COUNTED)
    operation: Json = {
        "operationId": f"{method.lower()}{path.replace('/', '_').translate(_NO_BRACES)}",
        "summary": summary or SUMMARIES.get(path, path),
        "parameters": [*described.parameters, *_path_parameters(path), REQUEST_ID_PARAMETER],
        "responses": {
            **{
                str(status): _with_headers(each, described)
                for status, each in described.answers.items()
            },
            **{str(s): {"$ref": f"#/components/responses/{s}"} for s in sorted(statuses)},
        },
        "security": [{}],
    }
    if described.scope:
        operation["security"] = [{"bearer": []}, {"header": []}, {}]
        operation["description"] = (
            f"Where keys are asked for, one with the scope `{described.scope}` is needed."
        )
    if described.body:
        operation["requestBody"] = described.body
    return operation


_NO_BRACES = str.maketrans("", "", "{}.")


def _path_parameters(path: str) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, **told}
        for name, told in PATH_PARAMETERS.items()
        if f"{{{name}}}" in path
    ]


def _with_headers(answer: Json, told: Operation) -> Json:
    headers = {name: {"description": text, "schema": TEXT} for name, text in told.headers.items()}
    request_id = {"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}}
    return {**answer, "headers": {**headers, **request_id}}


def _problem_answer(status: int) -> Json:
    example = problem(status, PROBLEMS[status])
    headers: Json = {"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}}
    if status in WAIT:
        seconds = {"type": "string", "pattern": "^[0-9]+$"}
        headers["Retry-After"] = {"description": "Seconds to wait.", "schema": seconds}
    if status == 401:
        headers["WWW-Authenticate"] = {"schema": {"type": "string", "const": "Bearer"}}
    return {
        "description": PROBLEMS[status],
        "headers": headers,
        "content": {MEDIA_TYPE: {"schema": ref(ProblemDocument), "example": example}},
    }
