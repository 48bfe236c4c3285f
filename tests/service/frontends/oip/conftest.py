"""Triton's client, which wants an older ml_dtypes and greenlet than ours."""

from pathlib import Path

import pytest

from tests.peers import installed_apart

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def triton_client(tmp_path_factory) -> Path:
    """A folder that holds Triton's client and what it needs."""
    return installed_apart(tmp_path_factory.mktemp("tritonclient"), HERE / "triton-client.txt")
