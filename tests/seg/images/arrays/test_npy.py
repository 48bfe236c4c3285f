import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from seg.errors import ImageError, ImageTooLargeError
from seg.images import ClassInfo, Limits, Mask, encode_mask, read_image, read_mask

TYPES = st.one_of(
    arrays.integer_dtypes(endianness="?"),
    arrays.unsigned_integer_dtypes(endianness="?"),
    arrays.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
)


def saved(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


@given(arrays.arrays(TYPES, arrays.array_shapes(min_dims=2, max_dims=3)), st.sampled_from("CF"))
def test_an_array_is_read_as_it_was_saved(array, order):
    content = saved(np.asarray(array, order=order))
    read = read_image(content, dims=2).array
    np.testing.assert_array_equal(read, array if array.ndim == 3 else array[None])
    assert read.dtype.isnative


@pytest.mark.parametrize(
    ("shape", "dims", "expected"),
    [
        ((4, 5), 2, (1, 4, 5)),
        ((3, 4, 5), 2, (3, 4, 5)),
        ((3, 4, 5), 3, (1, 3, 4, 5)),
        ((2, 3, 4, 5), 3, (2, 3, 4, 5)),
        ((4, 5), None, (1, 4, 5)),
        ((2, 3, 4, 5), None, (2, 3, 4, 5)),
    ],
)
def test_the_model_s_dimensions_say_what_the_first_axis_is(shape, dims, expected):
    assert read_image(saved(np.zeros(shape)), dims=dims).array.shape == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (saved(np.zeros((3, 4, 5))), "of 2 or 4 axes, got one of shape"),
        (saved(np.zeros(7)), "got one of shape"),
        (saved(np.zeros((4, 5), complex)), "must hold numbers of up to 64 bits, got complex128"),
        (saved(np.zeros((4, 0))), "must not be empty"),
        (saved(np.zeros((4, 5))).replace(b"(4, 5), }", b"(-4,5), }"), "must not be empty"),
        (saved(np.zeros((4, 5)))[:-1], "is cut off: 160 bytes"),
        (b"\x93NUMPY\x01\x00\x10\x00{'shape': open('x')", "is damaged"),
        (b"\x93NUMPY\x02\x00\x60\xea\x00\x00" + b"(" * 60_000, r"is damaged \(.{,100}\); save"),
    ],
)
def test_what_is_no_image_is_refused_in_a_sentence(content, said):
    with pytest.raises(ImageError, match=said):
        read_image(content)


def test_a_header_is_checked_before_memory_is_spent():
    header = saved(np.zeros((1, 1), np.uint8)).replace(b"(1, 1), }", b"(99999999, 9999999), }")
    with pytest.raises(ImageTooLargeError, match="pixels a plane"):
        read_image(header, dims=2, limits=Limits(max_pixels=10**6))


SHAPES = arrays.array_shapes(min_dims=2, max_dims=3)


@given(arrays.arrays(np.uint8, SHAPES, elements={"max_value": 3}))
def test_a_mask_comes_back(labels):
    classes = [ClassInfo(index=n, name=str(n), color=(n, n, n)) for n in range(4)]
    content = encode_mask(Mask(labels), "npy", classes)
    np.testing.assert_array_equal(np.load(io.BytesIO(content)), labels)
    np.testing.assert_array_equal(read_mask(content, dims=labels.ndim).array, labels)
