"""Addresses of series: ``dicomweb+https://HOST/dicom-web/studies/UID/series/UID``."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from seg.errors import ConfigError

SCHEMES = ("dicomweb+https://", "dicomweb+http://")
"""What an input begins with that is no file."""

UID = re.compile(r"[0-9](?:[0-9.]{0,62}[0-9])?")
_PATH = re.compile(
    r"(?P<root>.*?)(?:/studies/(?P<study>[^/]+))?(?:/series/(?P<series>[^/]+))?/*", re.DOTALL
)
EXAMPLE = "dicomweb+https://pacs.example/dicom-web/studies/UID/series/UID"


@dataclass(frozen=True, slots=True)
class SeriesAddress:
    """A series of an archive, or all series of a study."""

    root: str
    """Of the archive's DICOMweb: ``https://pacs.example/dicom-web``."""
    study: str | None
    """StudyInstanceUID; None leaves it to the archive to find it."""
    series: str | None
    """SeriesInstanceUID; None stands for all of the study's images."""


def is_uid(text: str) -> bool:
    """Digits and dots, as DICOM's names of studies, series and instances are."""
    return bool(UID.fullmatch(text)) and ".." not in text


def is_address(text: str) -> bool:
    """Whether an input is an address and no path."""
    return text.lower().startswith(SCHEMES)


def parsed_address(text: str) -> SeriesAddress:
    """The parts of an address.

    Raises:
        ConfigError: it is none; the sentence repeats no UID.
    """
    url = text.partition("+")[2]
    match = _PATH.fullmatch(url)
    assert match is not None
    root, study, series = match["root"], match["study"], match["series"]
    check_root(root)
    if not (study or series):
        raise ConfigError(f"the address names no study and no series; it looks like {EXAMPLE}")
    if any(each is not None and not is_uid(each) for each in (study, series)):
        raise ConfigError(f"a UID has digits and dots, 64 at most; an address is like {EXAMPLE}")
    return SeriesAddress(root, study, series)


def check_root(root: str) -> None:
    """Whether an archive can be asked there.

    Raises:
        ConfigError: it is no plain address of the web, or has a password in it.
    """
    try:
        parts = urlsplit(root)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1)
    except ValueError:
        is_one = False
    if not is_one or parts.query or parts.fragment or not root.isascii() or " " in root:
        raise ConfigError("the root of DICOMweb is like https://pacs.example/dicom-web")
    if "@" in parts.netloc:
        raise ConfigError("a name and a password belong into a file of credentials, no address")
