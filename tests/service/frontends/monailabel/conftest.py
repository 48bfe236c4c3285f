"""MONAI Label's own client, taken out of its package without what else the package needs."""

import importlib.util

import numpy as np
import pytest

from data.card import PackageFile, PackageSource
from data.packages import extract
from seg.errors import RegistryError
from seg.images import Image, write_image
from tests.packages import LEVELS, write_package
from tests.service.conftest import served, until_status

CLIENT = PackageSource(
    package="monailabel",
    version="0.8.5",
    kind="wheel",
    megabytes=20,
    sha256="0c2c9bd72c8f9862c0c182d14e7f2637c53ccd616f9ffa584f619b1040f1fc6b",
    licence="Apache-2.0",
    files={
        "client.py": PackageFile(
            path="monailabel/client/client.py",
            sha256="e1ebf7b36da33d27e2dce2771ce4678cbda3edc357b3426aab433a01bcb0b127",
        )
    },
)
AFFINE = np.array([[0, -1.5, 0, 12], [0.8, 0, 0, -7], [0, 0, 3, 40], [0, 0, 0, 1.0]])
"""Of a volume whose axes are exchanged and turned."""


@pytest.fixture(scope="session")
def peer(tmp_path_factory):
    """The module of MONAI Label's client."""
    pytest.importorskip("cgi", reason="MONAI Label's client needs Python below 3.13")
    folder = tmp_path_factory.mktemp("peer")
    try:
        extract(CLIENT, folder)
    except RegistryError as error:
        pytest.skip(f"no MONAI Label client here: {error}")
    spec = importlib.util.spec_from_file_location("monailabel_client", folder / "client.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
