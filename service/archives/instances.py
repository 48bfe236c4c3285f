"""Instances that are sent: what each one is, and that its names are names."""

from typing import IO

from seg.dicomweb.addresses import is_uid
from seg.errors import ImageError
from seg.images.dicom.instance_facts import InstanceFacts
from service.decoding.image_decoder import Check, ImageDecoder


def facts_of_sent(file: IO[bytes], decoder: ImageDecoder, check: Check) -> InstanceFacts:
    """What a file is that somebody sends; its UIDs may stand in addresses and names of files.

    Args:
        file: is read where it can be ended.
        decoder: reads it.
        check: is called many times a second; what it raises ends the reading.

    Raises:
        ImageError: it is no DICOM, damaged, or one of its UIDs is missing or none.
        DecodingFullError: others leave no room now.
    """
    facts = decoder.instance(file, check=check)
    if not all(map(is_uid, (facts.sop_class, facts.instance, facts.series, facts.study))):
        raise ImageError("a UID of the file of DICOM has more than digits and dots")
    return facts
