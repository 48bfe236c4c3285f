"""What outlives a process that receives."""

import numpy as np

from seg.images.dicom.instance_facts import instance_facts
from service.frontends.dimse.spool import Spool
from tests.seg.images.dicom.files import content_of
from tests.service.frontends.dicomweb.conftest import study


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
