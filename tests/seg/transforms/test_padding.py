"""What lies around an image when it is cut into patches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seg.transforms import surround
from seg.transforms.padding import border

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(sizes, st.tuples(st.integers(0, 3), st.integers(0, 3)), sizes)
def test_an_image_lies_where_its_margin_ends_and_is_as_large_as_a_patch(shape, margin, patch):
    image = np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(1, *shape)
    found = surround(image, margin, patch)
    size = tuple(max(n + 2 * m, p) for n, m, p in zip(shape, margin, patch, strict=True))
    assert found.shape[1:] == size
    inside = tuple(slice(m, m + n) for m, n in zip(margin, shape, strict=True))
    np.testing.assert_array_equal(found[:, *inside], image)
    if any(margin):
        assert found.sum() == image.sum()  # zeros around it
    else:
        assert found.min() > 0  # mirrored at its end


@pytest.mark.parametrize(
    ("shape", "patch", "widths"),
    [
        ((5, 5), (8, 9), ((1, 2), (2, 2))),
        ((5, 9), (8, 9), ((1, 2), (0, 0))),
        ((9, 9), (8, 8), ((0, 0), (0, 0))),
    ],
)
def test_nnu_net_puts_a_small_image_in_the_middle_of_zeros(shape, patch, widths):
    assert border(shape, (0, 0), patch, "nnunet") == (widths, "constant")
