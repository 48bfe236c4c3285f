import pytest

from data.phantom import draw


@pytest.fixture
def raw(tmp_path):
    """A small dataset in nnU-Net raw format: 3 training cases, 1 test case, 2 channels."""
    return draw(tmp_path / "phantom", cases=4, size=(20, 24))
