"""What of an image a picture shows, and how."""

import re
from collections.abc import Mapping
from typing import Any

from service.problems.response import Problem
from service.requests.options import frame_in

PICTURE, NUMBERS, STACKS, FRAMES = "picture", "npy", "stacks", "frames"
"""What ``POST /picture`` answers with."""

LONGEST_PICTURE = 4096
"""Most pixels along an edge of a picture: what the canvas of a phone can hold."""

MOST_DIGITS = 9


def picture_wish(query: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """What a query asks for: a task of ``service.decoding.worker``, and what it is told.

    Raises:
        Problem: 422, it is none.
    """
    kind = query.get("as", PICTURE)
    if kind not in (PICTURE, NUMBERS, STACKS, FRAMES):
        raise Problem(422, f"as must be {PICTURE}, {NUMBERS}, {STACKS} or {FRAMES}")
    if kind == STACKS:
        return STACKS, {}
    if kind == FRAMES:
        if "frame" not in query:
            raise Problem(422, "as=frames needs the first of them, as in frame=t:0")
        return FRAMES, {"first": frame_in(query["frame"])}
    longest = _numbers(query.get("longest", str(LONGEST_PICTURE)), 1)
    if longest is None or not 1 <= longest[0] <= LONGEST_PICTURE:
        raise Problem(422, f"longest must be a number from 1 to {LONGEST_PICTURE}")
    box = _numbers(query["region"], 4) if "region" in query else None
    if "region" in query and (box is None or min(box[2:]) < 1):
        raise Problem(422, "region must be left,top,width,height in pixels of the image")
    frame = frame_in(query["frame"]) if "frame" in query else None
    wish = {"numbers": kind == NUMBERS, "longest": longest[0], "box": box, "frame": frame}
    return PICTURE, wish


def _numbers(text: str, count: int) -> list[int] | None:
    digits = rf"[0-9]{{1,{MOST_DIGITS}}}"
    if not re.fullmatch(rf"{digits}(?:,{digits}){{{count - 1}}}", text):
        return None
    return [int(part) for part in text.split(",")]
