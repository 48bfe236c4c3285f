import numpy as np
import pytest

from seg.errors import ImageError, UnsupportedImageError
from seg.images.grid.axes import Axes

NUMBERS = {"C": 2, "S": 2, "Z": 3, "Y": 4, "X": 5, "T": 1, "Q": 3, "I": 3}


def arranged(letters, dims=None, **lengths):
    shape = tuple((NUMBERS | lengths)[letter] for letter in letters)
    axes = Axes.of(letters, shape, dims)
    array = axes.arrange(np.zeros(shape))
    assert array.shape == (axes.channels, *axes.spatial)
    return array.shape


@pytest.mark.parametrize(
    ("letters", "dims", "expected"),
    [
        ("YX", None, (1, 4, 5)),
        ("YXS", None, (2, 4, 5)),
        ("CYX", 2, (2, 4, 5)),
        ("ZYX", None, (1, 3, 4, 5)),
        ("ZCYX", 3, (2, 3, 4, 5)),
        ("TZCYX", 3, (2, 3, 4, 5)),
        ("XYCZ", 3, (2, 3, 4, 5)),
        ("QYX", None, (1, 3, 4, 5)),
        ("QYX", 3, (1, 3, 4, 5)),
        ("QYX", 2, (3, 4, 5)),
        ("IYX", 2, (3, 4, 5)),
        ("QCYX", 3, (2, 3, 4, 5)),
        ("QYXS", None, (2, 3, 4, 5)),
    ],
)
def test_named_axes_go_to_their_places_and_pages_where_they_are_needed(letters, dims, expected):
    assert arranged(letters, dims) == expected


def test_the_array_is_moved_and_not_only_reshaped():
    array = np.arange(24).reshape(2, 3, 4)  # y, x, samples
    np.testing.assert_array_equal(
        Axes.of("YXS", array.shape, None).arrange(array), np.moveaxis(array, 2, 0)
    )


def test_one_slice_is_flat_unless_a_volume_is_wanted():
    assert arranged("ZYX", Z=1) == (1, 4, 5)
    assert arranged("ZYX", 2, Z=1) == (1, 4, 5)
    assert arranged("ZYX", 3, Z=1) == (1, 1, 4, 5)


def test_a_nameless_stack_beside_a_z_axis_of_one_slice_is_z():
    assert arranged("IZYX", 3, Z=1) == (1, 3, 4, 5)
    assert arranged("ZIYX", 3, Z=1) == (1, 3, 4, 5)


@pytest.mark.parametrize(
    ("letters", "dims", "error", "words"),
    [
        ("TYX", None, UnsupportedImageError, "one moment is needed, the file holds 6"),
        ("QQYX", None, UnsupportedImageError, "QQYX of lengths .* could mean several things"),
        ("CYXS", None, UnsupportedImageError, "could mean several things; name the axes"),
        ("QZYX", 3, UnsupportedImageError, "could mean several things"),
        ("QCYX", 2, UnsupportedImageError, "could mean several things"),
        ("CX", None, UnsupportedImageError, "axes y and x are needed, got CX"),
        ("ZYX", 2, ImageError, "a 2D image is needed, the file is a volume of 3 slices"),
        ("CYX", 3, ImageError, "a volume is needed, the file is flat .axes CYX"),
    ],
)
def test_axes_that_cannot_be_settled_are_refused(letters, dims, error, words):
    with pytest.raises(error, match=words):
        arranged(letters, dims, T=6)
