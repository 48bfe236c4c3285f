"""Other people's programs: Triton's client, and Label Studio's reader of brush strokes."""

import importlib.util
from pathlib import Path

import pytest

from data.card import PackageFile, PackageSource
from data.packages import extract
from seg.errors import RegistryError
from tests.peers import installed_apart

HERE = Path(__file__).parent

SDK = PackageSource(
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


@pytest.fixture(scope="session")
def triton_client(tmp_path_factory) -> Path:
    """A folder that holds Triton's client and what it needs."""
    pins = HERE / "oip" / "triton-client.txt"
    return installed_apart(tmp_path_factory.mktemp("tritonclient"), pins)


@pytest.fixture(scope="session")
def brush(tmp_path_factory):
    """The module of Label Studio's SDK that reads strokes, without what else the SDK needs."""
    folder = tmp_path_factory.mktemp("label-studio-sdk")
    try:
        extract(SDK, folder)
    except RegistryError as refused:
        pytest.skip(f"Label Studio's SDK: {refused}")
    spec = importlib.util.spec_from_file_location("brush", folder / "brush.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
