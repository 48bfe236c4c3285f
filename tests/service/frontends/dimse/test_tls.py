"""DICOM over TLS, both ways."""

import socket
import ssl
from contextlib import closing, contextmanager

import numpy as np
import pynetdicom
import pytest

from seg.dicomweb.credentials import Credentials
from service.archives.destinations import Destinations
from service.archives.peers import Peers
from service.frontends.dimse.listener import DicomListener
from service.frontends.dimse.receiver import Receiver
from service.frontends.dimse.spool import Spool
from service.jobs.routes import Jobs
from service.models.registry import ModelRegistry
from service.observability.metrics import Metrics
from service.settings import Settings
from tests.orthanc import free_port
from tests.service.frontends.dicomweb.conftest import study

PEERS = "pacs=PACS@127.0.0.1:{port}/tls"


def credentials_of(certificates, name, folder):
    """The file that says: this is our certificate, and ``trusted`` is whom we trust."""
    file = folder / f"{name}.json"
    own = certificates[name]
    authorities = certificates["trusted"]
    file.write_text(
        Credentials(
            certificate=own, key=own.with_suffix(".key"), authorities=authorities
        ).model_dump_json(exclude_none=True)
    )
    return file


@pytest.fixture
def listening(tiny_package_3d, certificates, tmp_path):
    """Port of a listener that asks for a certificate, and the folder where it keeps what comes."""
    port = free_port()
    settings = Settings(
        package=tiny_package_3d,
        jobs_files=str(tmp_path / "jobs"),
        dicom_port=port,
        dicom_peers=PEERS.format(port=port),
        dicom_tls_file=credentials_of(certificates, "trusted", tmp_path),
        dicom_spool=tmp_path / "received",
    )
    models = ModelRegistry(settings, Metrics())
    jobs = Jobs.of(models)
    destinations = Destinations.of(settings)
    spool = Spool(settings.dicom_spool, 10**9, 10**9)
    receiver = Receiver(models, jobs, destinations, spool)
    listener = DicomListener(settings, destinations.peers, receiver)
    listener.start()
    yield port, spool
    listener.close()
    jobs.close()
    models.close()


@contextmanager
def association_with(port, tls):
    entity = pynetdicom.AE("PACS")
    entity.add_requested_context("1.2.840.10008.1.1")
    association = entity.associate("127.0.0.1", port, ae_title="SEG", tls_args=tls and (tls, None))
    yield association
    association.abort()


def test_results_are_sent_over_tls_to_one_who_shows_a_certificate(
    listening, certificates, tmp_path
):
    port, spool = listening
    peers = Peers.parsed(
        PEERS.format(port=port).replace("PACS", "SEG"), "PACS", tmp_path / "trusted.json"
    )
    one = study(np.diag([0.8, 1.5, 3, 1.0]))[0]
    path = tmp_path / "one.dcm"
    one.save_as(path, enforce_file_format=True)
    with peers.reached("pacs") as archive, path.open("rb") as file:
        assert archive.store([(file, path.stat().st_size)]) == [one.SOPInstanceUID]
    assert len(spool.series()) == 1


def test_who_shows_no_certificate_or_another_s_is_not_answered(listening, certificates, tmp_path):
    port, _ = listening
    foreign = Credentials.read(credentials_of(certificates, "foreign", tmp_path)).tls()
    nameless = ssl.create_default_context(cafile=certificates["trusted"])
    trusted = Credentials.read(credentials_of(certificates, "trusted", tmp_path)).tls()
    for context in (foreign, nameless, trusted):
        context.check_hostname = False
    for context, is_let_in in ((None, False), (foreign, False), (nameless, False), (trusted, True)):
        with association_with(port, context) as association:
            assert association.is_established == is_let_in


def test_one_who_says_nothing_keeps_nobody_waiting(listening, certificates, tmp_path):
    port, _ = listening
    trusted = Credentials.read(tmp_path / "trusted.json").tls()
    trusted.check_hostname = False
    with (
        closing(socket.create_connection(("127.0.0.1", port))),
        association_with(port, trusted) as one,
    ):
        assert one.is_established
