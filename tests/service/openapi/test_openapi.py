"""What ``/openapi.json`` says, against the code and against a server that really runs."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.responses import Response
from starlette.routing import Route

from service.openapi.document import describe_routes
from service.openapi.table import PROBLEMS
from service.page.routes import page_routes
from service.problems.response import STATUS_OF_ERROR

ROOT = Path(__file__).parents[3]
EXAMPLES = 4


@pytest.fixture(scope="module")
def document(client):
    return client.get("/openapi.json").json()


def test_the_description_is_valid(document):
    errors = list(OpenAPIV31SpecValidator(document).iter_errors())
    assert not errors, errors[0]


def test_a_route_without_a_description_keeps_the_service_from_starting():
    def forgotten(_):
        return Response()

    with pytest.raises(KeyError, match="forgotten"):
        describe_routes([Route("/forgotten", forgotten)])
    with pytest.raises(KeyError, match="PUT"):
        describe_routes([Route("/segment", forgotten, methods=["PUT"])])


def test_every_file_of_the_page_is_a_path_of_the_description(document):
    paths = {route.path for route in page_routes()} - {"/"}
    assert all(path.startswith("/page/") for path in paths)
    assert "/page/{file}" in document["paths"]


def statuses_in_code() -> set[int]:
    """First arguments of Problem and problem_response, and the table of errors."""
    found = set(STATUS_OF_ERROR.values())
    for path in (ROOT / "service").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(getattr(node, "func", None), "id", None) or getattr(
                getattr(node, "func", None), "attr", None
            )
            if name in ("Problem", "problem_response", "_answer") and node.args:
                status = node.args[0]
                if isinstance(status, ast.Constant) and isinstance(status.value, int):
                    found.add(status.value)
    return found


def test_every_error_that_the_code_can_answer_is_described(document):
    of_the_studio = {412, 428}
    of_front_ends = {501}  # Label Studio's
    assert statuses_in_code() - of_front_ends <= set(PROBLEMS)
    told = {
        int(status)
        for path in document["paths"].values()
        for operation in path.values()
        for status in operation["responses"]
    }
    assert set(PROBLEMS) - of_the_studio <= told


def test_every_operation_has_a_summary_and_every_option_an_example(document):
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert all("example" in each for each in operation["parameters"]), path


def test_the_running_service_answers_as_described(client):
    """Schemathesis sends what the description allows and what it does not."""
    script = ["bash", "deploy/contract.sh", str(client.base_url)]
    run = subprocess.run(
        [*script, "--max-examples", str(EXAMPLES), "--seed", "1", "--no-color"],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
