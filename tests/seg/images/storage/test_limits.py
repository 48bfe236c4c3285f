import pytest

from seg.errors import ImageTooLargeError
from seg.images import Limits


def test_an_image_of_exactly_the_limits_passes():
    Limits(max_pixels=12, max_voxels=24, max_bytes=96).check((2, 3, 4), channels=2, itemsize=2)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        pytest.param(
            Limits(max_pixels=11), "at most 11 pixels a plane are read, got 12", id="plane"
        ),
        pytest.param(Limits(max_voxels=23), "at most 23 voxels are read, got 24", id="volume"),
        pytest.param(Limits(max_bytes=95), "at most 95 bytes once decoded are read", id="memory"),
    ],
)
def test_one_more_than_a_limit_is_refused_with_both_numbers(limits, words):
    with pytest.raises(ImageTooLargeError, match=words):
        limits.check((2, 3, 4), channels=2, itemsize=2)


def test_by_default_a_large_photo_and_a_whole_body_ct_pass():
    Limits().check((8000, 12000), channels=3, itemsize=1)
    Limits().check((1500, 512, 512), channels=1, itemsize=2)
