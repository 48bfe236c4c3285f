"""Text and JSON files as programs of other systems write them."""

import codecs
import json
from collections import Counter
from pathlib import Path
from typing import Any

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""By which bytes a text of which encoding begins, those of 32 bits before those of 16."""


def text_of(path: Path) -> str:
    """The text of a file in UTF-8, or in what its byte order mark says.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is another encoding.
    """
    content = path.read_bytes()
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return content.decode(encoding)
    return content.decode("utf-8")


def said_of(error: Exception) -> str:
    """Why a file is no text, or not in its format, in one line."""
    if isinstance(error, UnicodeDecodeError):
        return "it is no text in UTF-8; save it as UTF-8"
    if isinstance(error, json.JSONDecodeError):
        where = f" (line {error.lineno}, column {error.colno})" if error.doc else ""
        return f"it is no JSON as it should be: {error.msg}{where}"
    return f"it cannot be read: {' '.join(str(error).split())}"


def json_of(path: Path) -> Any:
    """What the file holds.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is no text.
        json.JSONDecodeError: it is no JSON.
    """
    return json.loads(text_of(path), object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a JSON object; a name that is there twice means nobody knows what."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise json.JSONDecodeError(f"{twice} is there twice in one object", "", 0)
    return found
