"""Instances that are sent: what each one is, and that its names are names."""

from seg.dicomweb.addresses import is_uid
from seg.errors import ImageError
from seg.images.dicom.instance_facts import InstanceFacts, instance_facts
from seg.images.storage.files import BinaryFile


def facts_of_sent(file: BinaryFile) -> InstanceFacts:
    """What a file is that somebody sends; its UIDs may stand in addresses and names of files.

    Raises:
        ImageError: it is no DICOM, damaged, or one of its UIDs is missing or none.
    """
    facts = instance_facts(file)
    if not all(map(is_uid, (facts.sop_class, facts.instance, facts.series, facts.study))):
        raise ImageError("a UID of the file of DICOM has more than digits and dots")
    return facts
