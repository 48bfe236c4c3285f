"""Log lines as JSON, without a word that a client sent, and without paths."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

from service.observability.folders import without_folders

LOGGER = logging.getLogger("service")

LIBRARY = logging.getLogger("seg")
"""Ours as well, and used without the service."""

SPOKEN = frozenset({"event", "reason", "fallback"})
"""Fields in which libraries may have their say."""

BENTOML_ERRORS = "bentoml._internal.server.http_app"
"""Where BentoML logs the exceptions of its own endpoints."""


class JsonLines(logging.Formatter):
    """One JSON object a record: time, level, event and what ``extra={"fields": ...}`` adds."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        for name in SPOKEN & line.keys():
            if isinstance(line[name], str):
                line[name] = without_folders(line[name])
        return json.dumps(line)


def configure_logging() -> None:
    """Send the service's lines to standard output, and keep pixels out of BentoML's."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    for logger, level in ((LOGGER, logging.INFO), (LIBRARY, logging.WARNING)):
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
    logging.getLogger(BENTOML_ERRORS).addFilter(_without_exception)


def where_it_failed(error: BaseException) -> dict[str, object]:
    """Type and place of an error; its message may quote what a client sent and is left out."""
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "error": type(error).__name__,
        "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


def _without_exception(record: logging.LogRecord) -> bool:
    record.exc_info = record.exc_text = None
    return True
