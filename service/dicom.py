"""Receive series by C-STORE, segment them, and send the results: ``python -m service.dicom``.

Jobs lie where those of ``bentoml serve`` do (``SEG_JOBS_FILES``, ``SEG_JOBS_DATABASE``): with
``SEG_JOB_WORKERS=0`` this process only receives, and the service works on what has come.
"""

import argparse
import signal
import sys
import threading

from seg.commands import exit_status
from seg.errors import ConfigError
from seg.verbs import called

ABOUT = """\
Receive series by C-STORE, segment them, and send the results to a PACS.

Everything is set by environment variables, as for `seg serve`:

  SEG_PACKAGE         the model package (or SEG_MODELS, a folder of them)
  SEG_DICOM_TITLE     our AE title (SEG)
  SEG_DICOM_HOST      address to listen on (127.0.0.1)
  SEG_DICOM_PORT      port to listen on (11112)
  SEG_DICOM_PEERS     who may call and be sent to: pacs=ORTHANC@10.0.0.5:4242,...
  SEG_DICOMWEB        archives that results may be stored in by STOW-RS
  SEG_DICOM_RULES     which series are segmented, by which model, and where results go

docs/clinic.md says more.
"""


def main(arguments: list[str] | None = None) -> int:
    """Receive until a signal comes."""
    parser = argparse.ArgumentParser(
        prog=called("service.dicom"),
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    return exit_status(_run, serves=True)


def _run() -> int:
    from service.archives.destinations import Destinations
    from service.frontends.dimse.listener import DicomListener
    from service.frontends.dimse.receiver import Receiver
    from service.frontends.dimse.spool import Spool
    from service.hosting.ending import Ending
    from service.jobs.routes import Jobs
    from service.models.folder import check_packages
    from service.models.registry import ModelRegistry
    from service.observability.logs import LOGGER, configure_logging
    from service.observability.metrics import Metrics
    from service.settings import Settings

    settings = Settings.from_environment()
    check_packages(settings)
    configure_logging()
    destinations = Destinations.of(settings)
    models = ModelRegistry(settings, Metrics())
    jobs = Jobs.of(models)
    spool = Spool(settings.dicom_spool, settings.max_uploads_bytes, settings.max_job_bytes)
    receiver = Receiver(models, jobs, destinations, spool)
    listener = DicomListener(settings, destinations.peers, receiver)
    stopping = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopping.set())
    ending = Ending(models.cancel)
    ending.begin_by(signal.SIGTERM, signal.SIGINT)
    try:
        listener.start()
    except OSError as error:
        raise ConfigError(
            f"nobody can listen on {settings.dicom_host}:{settings.dicom_port}: {error.strerror}; "
            "SEG_DICOM_PORT names another port"
        ) from error
    models.start()
    jobs.start()
    receiver.start()
    ending.begin_because(models.why_dead)
    fields = {"title": settings.dicom_title, "port": settings.dicom_port}
    LOGGER.info("receiving", extra={"fields": fields})
    stopping.wait()
    died = models.why_dead()
    listener.close()
    receiver.close()
    models.cancel()
    jobs.close()
    models.close()
    return 1 if died else 0


if __name__ == "__main__":
    sys.exit(main())
