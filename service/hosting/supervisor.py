"""What BentoML's supervisor does for the processes that serve: watches them, lets them add up."""

# BentoML and its supervisor are read as untyped.
# mypy: disable-error-code="misc"

import os
import signal
import tempfile
from typing import Any

from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.utils import circus

from seg.cuda_driver import DEVICE_VARIABLE, cuda_devices
from service.expendable import end_with_parent
from service.observability.logs import LOGGER
from service.sharing.folder import SHARED
from service.sharing.scratch import scratch_folder

LOOK_S = 0.5
"""Seconds between two looks; BentoML's own are 10, in which nobody would be answered."""

_SUPERVISOR = "SEGMENTER_SUPERVISOR"
"""Environment variable: the id of its process."""

SHARED_LIMITS = (
    "the processes of this machine share SEG_MAX_PER_MINUTE, keys' rates, "
    "SEG_MAX_CLIENT_REQUESTS, SEG_MAX_UPLOADS_MB and SEG_MAX_DECODING_MB; SEG_MAX_REQUESTS, "
    "SEG_MAX_MODELS, SEG_THREADS and SEG_JOB_WORKERS are each process's own; replicas on other "
    "machines share SEG_MAX_JOBS, SEG_MAX_JOBS_MB and SEG_MAX_CLIENT_JOBS_MB alone"
)


def watch_closely() -> None:
    """Let the supervisor of this process, which is still to be made, look more often."""
    usual = circus.Arbiter

    def watchful(*arguments: Any, **options: Any) -> Any:
        return usual(*arguments, **{**options, "check_delay": LOOK_S})

    circus.Arbiter = watchful


def lead() -> None:
    """Let the processes that are started from now on know this one."""
    os.environ[_SUPERVISOR] = str(os.getpid())


def end_with_supervisor() -> None:
    """Have this process stop as if it were asked to when its supervisor dies.

    It would stay alone for ever, with the port and its jobs.
    """
    supervisor = os.environ.get(_SUPERVISOR)
    if supervisor is not None:
        end_with_parent(signal.SIGTERM, int(supervisor))


def take_a_card(worker: int) -> None:
    """One CUDA device for each worker of a machine, in turn; what an operator has chosen stays.

    Where BentoML, Kubernetes or ``CUDA_VISIBLE_DEVICES`` leaves one in sight, that is the one.

    Args:
        worker: number of this process, from 1.
    """
    count = cuda_devices()
    if count > 1 and not os.environ.get(DEVICE_VARIABLE):
        os.environ[DEVICE_VARIABLE] = str((worker - 1) % count)


def has_several_workers(service: str) -> bool:
    """Whether more than one process will serve, as BENTOML_CONFIG says."""
    workers = BentoMLContainer.config.services.get().get(service, {}).get("workers") or 1
    return workers == "cpu_count" or int(workers) > 1


def share_numbers() -> None:
    """Make the folder through which the processes started from now on add up what they count."""
    folder = scratch_folder("metrics-")
    _KEPT.append(folder)
    os.environ[SHARED] = folder.name


def tell_what_is_shared() -> None:
    """Say in the log which limits count for all processes, and which for each."""
    LOGGER.info("limits", extra={"fields": {"note": SHARED_LIMITS}})


_KEPT: list[tempfile.TemporaryDirectory[str]] = []
"""Deleted when the supervisor ends."""
