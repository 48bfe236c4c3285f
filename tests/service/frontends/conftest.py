"""Other people's programs that speak to front ends, and ``python -m service.dicom``.

MONAI Label's client, Triton's, and Label Studio's reader of brush strokes, each out of its package.
"""

import importlib.util
from contextlib import contextmanager
from pathlib import Path

import pytest

from data.card import PackageFile, PackageSource
from data.packages import extract
from seg.errors import RegistryError
from tests.peers import installed_apart

HERE = Path(__file__).parent

MONAI_LABEL = PackageSource(
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
LABEL_STUDIO = PackageSource(
    package="label-studio-sdk",
    version="2.1.2",
    kind="wheel",
    megabytes=2,
    sha256="8b95a4021f0bb4bd5a4cdce38d998cfbc0028d68681f0fd3e9907525967013c3",
    licence="Apache-2.0",
    files={
        "brush.py": PackageFile(
            path="label_studio_sdk/converter/brush.py",
            sha256="8d12f77cb97f274e9f5445fb51ab77d6bbb4b9467bd42e33ad79d7daa39cac8a",
        )
    },
)


def module_of(source: PackageSource, folder: Path):
    """The one module of a package that is taken, without what else the package needs."""
    try:
        extract(source, folder)
    except RegistryError as refused:
        pytest.skip(f"{source.package} is not to be had here: {refused}")
    (file,) = source.files
    spec = importlib.util.spec_from_file_location(f"{source.package}_{file[:-3]}", folder / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def peer(tmp_path_factory):
    """MONAI Label's client."""
    pytest.importorskip("cgi", reason="MONAI Label's client needs Python below 3.13")
    return module_of(MONAI_LABEL, tmp_path_factory.mktemp("monailabel-client"))


@pytest.fixture(scope="session")
def brush(tmp_path_factory):
    """What reads strokes in Label Studio's SDK."""
    return module_of(LABEL_STUDIO, tmp_path_factory.mktemp("label-studio-sdk"))


@pytest.fixture(scope="session")
def triton_client(tmp_path_factory) -> Path:
    """A folder that holds Triton's client and what it needs."""
    pins = HERE / "oip" / "triton-client.txt"
    return installed_apart(tmp_path_factory.mktemp("tritonclient"), pins)


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
