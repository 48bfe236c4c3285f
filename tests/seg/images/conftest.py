import pytest

from seg.images import ClassInfo


@pytest.fixture(scope="session")
def classes():
    return (
        ClassInfo(index=0, name="background", color=(0, 0, 0)),
        ClassInfo(index=1, name="nucleus", color=(255, 0, 0)),
        ClassInfo(index=2, name="cytoplasm", color=(0, 128, 255)),
    )
