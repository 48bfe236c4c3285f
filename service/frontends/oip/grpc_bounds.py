"""A message of gRPC looked through before it is parsed: a parser makes much of little.

Two bytes are an empty tensor, and one of an integer becomes eight.
"""

from collections.abc import Mapping
from typing import Any

from seg.protobuf import WireField, field_at
from service.problems.response import Problem

MOST_FIELDS = 10_000
"""Of a message and all that lie within: tensors, parameters, texts."""
MOST_SMALL = 64 * 1024
"""Bytes of a field that holds no data of tensors."""
DATA: Any = "data"

Layout = Mapping[int, Any]
"""By the number of a field: the layout of the message in it, or `DATA`."""
_CONTENTS: Layout = {6: DATA, 8: DATA}
INFER: Layout = {4: {2: {}}, 5: {4: {2: {}}, 5: _CONTENTS}, 6: {4: {2: {}}}, 7: DATA}
"""``ModelInferRequest``: parameters, inputs with their contents, outputs, raw contents."""


def check_message(content: bytes, layout: Layout = INFER) -> None:
    """Look whether it is no larger when it is parsed.

    Raises:
        Problem: 400, it is no message; 413, it has too many fields, or a long one without data.
    """
    waiting: list[tuple[int, int, Layout]] = [(0, len(content), layout)]
    fields = 0
    while waiting:
        at, end, of = waiting.pop()
        while at < end:
            fields += 1
            if fields > MOST_FIELDS:
                raise Problem(
                    413, f"a message has {MOST_FIELDS:,} fields at most; send numbers packed"
                )
            number, _, begin, at = _field(content, at, end)
            inner = of.get(number)
            if isinstance(inner, Mapping):
                waiting.append((begin, at, inner))
            elif inner is not DATA and at - begin > MOST_SMALL:
                raise Problem(
                    413,
                    f"what is no data of a tensor has {MOST_SMALL} bytes at most; data are "
                    "raw_input_contents, fp32_contents or bytes_contents",
                )


def _field(content: bytes, at: int, end: int) -> WireField:
    try:
        return field_at(content, at, end)
    except ValueError:
        raise Problem(400, "the message is no ModelInferRequest") from None
