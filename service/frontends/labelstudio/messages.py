"""What Label Studio sends."""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from service.problems.response import Problem

Body = TypeVar("Body", bound=BaseModel)
Item = TypeVar("Item", bound=BaseModel)

MOST_TASKS = 1000
"""Of a request, and as many annotations."""
Number = Annotated[int, Field(ge=0, lt=1 << 63)]
"""By which Label Studio's database knows what it has."""


def _listed(value: object) -> object:
    return [value] if isinstance(value, dict) else value


Several = Annotated[list[Item], Field(max_length=MOST_TASKS), BeforeValidator(_listed)]
"""One, or a list of them; a union of both would be read twice."""


class SentSetup(BaseModel):
    """``POST /setup``."""

    label_config: str = Field(alias="schema")
    extra_params: Any = None


class SentPredict(BaseModel):
    """``POST /predict``."""

    tasks: Annotated[list[dict[str, Any]], Field(max_length=MOST_TASKS)]
    label_config: str
    params: dict[str, Any] | None = None


class SentProject(BaseModel):
    """Of which an event is."""

    id: Number
    label_config: str


class SentTask(BaseModel):
    """An image, by its address."""

    id: Number
    data: dict[str, Any]


class SentAnnotation(BaseModel):
    """What somebody drew on it."""

    id: Number
    result: list[Any] = []
    was_cancelled: bool = False
    ground_truth: bool = False


class SentEvent(BaseModel):
    """``POST /webhook``."""

    action: str
    project: SentProject | None = None
    task: Several[SentTask] = []
    annotation: Several[SentAnnotation] = []
    annotations: Several[SentAnnotation] = []


def parsed(body: bytes, kind: type[Body]) -> Body:
    """A body of that kind.

    Raises:
        Problem: 400, it is none.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))[:80] or "the request"
        raise Problem(400, f"{where}: {first['msg'].lower()}") from None
