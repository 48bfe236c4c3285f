"""What speaks to front ends: ``python -m service.dicom``, and MONAI Label's own client."""

import importlib.util
from contextlib import contextmanager

import pytest

from data.card import PackageFile, PackageSource
from data.packages import extract
from seg.errors import RegistryError

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


@pytest.fixture(scope="session")
def peer(tmp_path_factory):
    """The module of MONAI Label's client, taken out of its package without what else that needs."""
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
def receiving(tiny_package_3d):
    """Start ``service.dicom`` of a package."""
    pytest.importorskip("pynetdicom", reason="no pynetdicom here: pip install pynetdicom")
    from tests.service.frontends.dimse.receiving import Receiving

    @contextmanager
    def start(folder, port, rules=None, of=tiny_package_3d, **settings):
        folder.mkdir(exist_ok=True)
        if rules is not None:
            (folder / "rules.yaml").write_text(rules)
            settings["SEG_DICOM_RULES"] = str(folder / "rules.yaml")
        process = Receiving(folder, of, port, settings)
        process.start()
        try:
            yield process
        finally:
            process.stop()

    return start
