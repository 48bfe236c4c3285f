"""``service.dicom`` killed in the middle, by senders who do what a PACS does: send again."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from tests.orthanc import free_port, names_in, orthanc
from tests.service.conftest import until
from tests.service.frontends.dicomweb.conftest import study
from tests.service.frontends.dimse.receiving import sent_until_taken, wrong_results
from tests.service.frontends.dimse.test_received import AFFINE

SENDERS, SERIES, KILLS = 3, 9, 2


def _begun_again(service) -> bool:
    begun, ended = (
        sum(line["attempt"] > 1 for line in service.lines(event))
        for event in ("job begun", "job ended")
    )
    return begun > ended


def test_each_series_gets_exactly_one_result_though_the_process_is_killed_twice(
    tmp_path, receiving
):
    ours, theirs = free_port(), free_port()
    series = [study(AFFINE) for _ in range(SERIES)]
    dicom = {"DicomServerEnabled": True, "DicomAet": "ORTHANC", "DicomPort": theirs}
    progress = threading.Semaphore(0)
    with (
        orthanc(tmp_path / "pacs", **dicom) as pacs,
        receiving(
            tmp_path / "seg",
            ours,
            rules="- destination: pacs",
            SEG_DICOM_PEERS=f"pacs=ORTHANC@127.0.0.1:{theirs},scanner=SCANNER@127.0.0.1:{ours}",
            SEG_DICOM_BROKEN_S="20",
            SEG_JOB_LEASE_S="2",
        ) as service,
        ThreadPoolExecutor(SENDERS) as senders,
    ):
        sending = [senders.submit(sent_until_taken, each, ours, progress) for each in series]
        for _ in range(KILLS):
            for _ in range(2):
                progress.acquire()
            # one that was at work at the kill before would be given up, as what kills its process
            until(lambda: not _begun_again(service))
            service.kill()
            service.start()
        for each in sending:
            each.result()
        until(lambda: len(names_in(pacs, "SEG")) >= SERIES)
        time.sleep(2)  # for one more that must not come
        assert wrong_results(pacs, series) == []
