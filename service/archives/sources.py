"""The archives that the operator has listed: clients name them, and can name no other address."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from seg.dicomweb.addresses import check_root
from seg.dicomweb.archive import Archive
from seg.dicomweb.credentials import Credentials
from seg.errors import ArchiveError, ConfigError
from service.observability.logs import LOGGER
from service.problems.response import Problem

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
EXAMPLE = "pacs=http://127.0.0.1:8042/dicom-web"


@dataclass(frozen=True)
class Sources:
    """Archives by name, in the order in which they are listed."""

    roots: Mapping[str, str]
    """Of their DICOMweb."""
    environment: Mapping[str, str]

    @classmethod
    def parsed(cls, text: str, environment: Mapping[str, str] = os.environ) -> "Sources":
        """``pacs=http://127.0.0.1:8042/dicom-web,ward=https://pacs.ward/dicom-web``.

        ``SEG_DICOMWEB_NAME_FILE`` is where the credentials for an archive lie, its name in capital
        letters with ``_`` for ``-``.

        Raises:
            ConfigError: an entry is none, or a file of credentials holds none.
        """
        roots: dict[str, str] = {}
        for entry in filter(None, (part.strip() for part in text.split(","))):
            name, equals, root = entry.partition("=")
            try:
                if not equals or not NAME.fullmatch(name) or name in roots:
                    raise ConfigError("a name stands for one archive")
                check_root(root)
            except ConfigError as error:
                raise ConfigError(
                    f"SEG_DICOMWEB has an entry for {name[:32]!r} that is none ({error}); "
                    f"an entry is like {EXAMPLE}"
                ) from None
            roots[name] = root
        sources = cls(roots, environment)
        for name in roots:
            sources.opened(name).__exit__()
        return sources

    @cached_property
    def default(self) -> str | None:
        """The first one: where results go when nobody says where."""
        return next(iter(self.roots), None)

    def check(self, name: str) -> str:
        """The name of an archive that is listed.

        Raises:
            Problem: 422, it is not.
        """
        if not self.roots:
            raise Problem(422, "this service knows no archive; SEG_DICOMWEB lists them")
        if name not in self.roots:
            raise Problem(
                422, f"source is one of {', '.join(self.roots)}, which SEG_DICOMWEB lists"
            )
        return name

    def reached(self, name: str) -> Archive:
        """The same while jobs are worked on: what is wrong is the operator's, and goes to the log.

        Raises:
            ArchiveError: as ``opened``.
        """
        try:
            return self.opened(name)
        except ConfigError as error:
            LOGGER.error("archives", extra={"fields": {"reason": str(error)}})
            raise ArchiveError(
                f"the archive {name} cannot be asked; the service's log says why"
            ) from None

    def opened(self, name: str) -> Archive:
        """A client of an archive; its credentials are read anew, so that they may be renewed.

        Raises:
            ConfigError: it is not listed any more, or its credentials cannot be used.
        """
        if name not in self.roots:
            raise ConfigError(f"SEG_DICOMWEB lists no archive {name[:32]!r} any more")
        variable = f"SEG_DICOMWEB_{name.upper().replace('-', '_')}_FILE"
        file = self.environment.get(variable)
        credentials = Credentials.read(Path(file)) if file else None
        return Archive(self.roots[name], credentials, f"the archive {name}")
