"""DICOMweb: find, fetch and store series in an archive (a PACS), each streamed to or from disk."""

from seg.dicomweb.addresses import SeriesAddress, is_address, parsed_address
from seg.dicomweb.archive import Archive, FoundSeriesFacts
from seg.dicomweb.credentials import Credentials

__all__ = [
    "Archive",
    "Credentials",
    "FoundSeriesFacts",
    "SeriesAddress",
    "is_address",
    "parsed_address",
]
