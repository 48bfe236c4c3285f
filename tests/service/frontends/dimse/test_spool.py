"""What lies on the disk of instances that were sent, whatever becomes of the process."""

import numpy as np
import pytest

from seg.images.dicom.instance_facts import InstanceFacts, instance_facts
from service.frontends.dimse.spool import Spool, SpoolFullError
from tests.seg.images.dicom.files import content_of
from tests.service.frontends.dicomweb.conftest import study

SERIES = "1.2.3"


def facts(instance: str) -> InstanceFacts:
    return InstanceFacts(
        sop_class="1.2.840.10008.5.1.4.1.1.2",
        instance=instance,
        series=SERIES,
        study="1.2",
        modality="CT",
        description="",
        slices=1,
        thickness_mm=None,
        direction="axial",
    )


def test_a_series_that_was_released_is_so_after_a_restart_until_more_of_it_comes(tmp_path):
    spool = Spool(tmp_path / "received", 10**9, 10**9)

    def keep(dataset):
        path = tmp_path / "instance.dcm"
        path.write_bytes(content_of(dataset))
        with path.open("rb") as file:
            return spool.keep(instance_facts(file), path, "pacs")

    first, second, *_ = study(np.diag([0.8, 1.5, 3, 1.0]))
    name = keep(first)
    assert not Spool(tmp_path / "received", 10**9, 10**9).is_released(name)
    spool.mark_released(name)
    again = Spool(tmp_path / "received", 10**9, 10**9)
    assert list(again.series()) == [name]
    assert again.is_released(name)
    assert keep(second) == name
    assert not again.is_released(name)


def test_an_instance_that_is_sent_again_takes_its_room_once(tmp_path):
    spool = Spool(tmp_path / "spool", most_bytes=10_000, most_of_series=10_000)
    content = tmp_path / "one"
    content.write_bytes(np.random.default_rng(0).bytes(4000))
    for _ in range(20):
        spool.keep(facts("1.2.3.1"), content, "scanner")
    content.write_bytes(bytes(5000))
    spool.keep(facts("1.2.3.2"), content, "scanner")
    with pytest.raises(SpoolFullError):
        spool.keep(facts("1.2.3.3"), content, "scanner")


def test_one_that_could_not_be_kept_takes_no_room(tmp_path, monkeypatch):
    spool = Spool(tmp_path / "spool", most_bytes=10_000, most_of_series=10_000)
    content = tmp_path / "one"
    content.write_bytes(bytes(4000))
    with monkeypatch.context() as broken:
        broken.setattr("service.frontends.dimse.spool.os.fsync", _fails)
        for _ in range(5):
            with pytest.raises(OSError, match="no room"):
                spool.keep(facts("1.2.3.1"), content, "scanner")
    spool.keep(facts("1.2.3.1"), content, "scanner")


def _fails(_):
    raise OSError("no room")
