"""The audit log: who asked what, when, and what became of it; a file that nothing else writes to.

One JSON object a line. Names of keys and subjects of tokens stand here and nowhere else; never a
file name, an option, a tag or a pixel. Log rotation may move the file away: it is made anew.
"""

import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path

from seg.errors import ConfigError
from service.observability.logs import LOGGER

NAMED = frozenset({"job", "name", "version"})
"""Parts of paths that are told: random ids of jobs, names and versions of models."""


class AuditLog:
    """Lines in a file that only its owner reads.

    Raises:
        ConfigError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
            self._file = _Lines(path, encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"SEG_AUDIT_LOG={path} cannot be written: {error.strerror}; name a file in a "
                "folder that the service may write to"
            ) from error

    def write(self, event: str, fields: Mapping[str, object]) -> None:
        """One line; what cannot be written is told in the log, and not the client."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
        text = json.dumps({**line, **{k: v for k, v in fields.items() if v is not None}})
        record = logging.LogRecord("audit", logging.INFO, "", 0, "%s", (text,), None)
        self._file.handle(record)


class _Lines(WatchedFileHandler):
    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  the base's name
        LOGGER.error("audit", extra={"fields": {"reason": "SEG_AUDIT_LOG cannot be written"}})
