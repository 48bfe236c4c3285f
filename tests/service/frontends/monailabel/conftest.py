"""A service that speaks MONAI Label's contract, and what its client sends."""

import numpy as np
import pytest

from seg.images import Image, write_image
from tests.packages import LEVELS, write_package
from tests.service.conftest import served, until_status

AFFINE = np.array([[0, -1.5, 0, 12], [0.8, 0, 0, -7], [0, 0, 3, 40], [0, 0, 0, 1.0]])
"""Of a volume whose axes are exchanged and turned."""


@pytest.fixture(scope="session")
def front_log(tmp_path_factory):
    return tmp_path_factory.mktemp("monailabel") / "log.txt"


@pytest.fixture(scope="session")
def studies(front_log):
    """The folder of the dataset in which the service's users annotate."""
    return front_log.parent / "studies"


@pytest.fixture(scope="session")
def front(front_log, studies):
    """A client of a service of volumes that speaks MONAI Label's contract."""
    package = write_package(front_log.parent / "package", patch=(8, 16, 16))
    settings = {"SEG_FRONTENDS": "monailabel", "SEG_STUDIES": str(studies)}
    settings["SEG_SESSIONS"] = str(front_log.parent / "sessions")
    with served(package, front_log, SEG_PROVIDER="cpu", **settings) as client:
        until_status(client, "/readyz", 200)
        yield client


@pytest.fixture
def monai(peer, front, tmp_path):
    """MONAI Label's client of that service."""
    return peer.MONAILabelClient(str(front.base_url), tmpdir=str(tmp_path), client_id="ward")


@pytest.fixture(scope="session")
def scan(tmp_path_factory):
    """A volume in which every class is seen, whose path is nobody's business."""
    coarse = np.random.default_rng(3).integers(0, len(LEVELS), (3, 4, 5))
    levels = (255 * np.array(LEVELS)).astype(np.uint8)[coarse]
    array = np.kron(levels, np.ones((4, 6, 7), np.uint8))
    path = tmp_path_factory.mktemp("secret-patient") / "MUELLER_ANNA.nii.gz"
    write_image(path, Image(array[np.newaxis], affine=AFFINE, spacing=(3.0, 1.5, 0.8)))
    return path
