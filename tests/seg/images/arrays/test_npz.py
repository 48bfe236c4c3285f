import io
import zipfile

import numpy as np
import pytest

from seg.errors import ImageError, ImageTooLargeError
from seg.images import Limits, Mask, encode_mask, read_image, read_mask

LABELS = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)


def archive(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def test_numpy_opens_the_archive_without_pickles(classes):
    mask = Mask(LABELS, spacing=(0.5, 0.7), affine=np.diag([0.7, 0.5, 1, 1]))
    with np.load(io.BytesIO(encode_mask(mask, "npz", classes)), allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["labels"], LABELS)
        np.testing.assert_array_equal(arrays["spacing"], [0.5, 0.7])
        np.testing.assert_array_equal(arrays["affine"], mask.affine)


def test_what_is_not_known_is_not_there(classes):
    with np.load(io.BytesIO(encode_mask(Mask(LABELS), "npz", classes))) as arrays:
        assert arrays.files == ["labels"]


def test_a_fortran_ordered_array_is_read_in_its_own_order():
    np.testing.assert_array_equal(
        read_mask(archive(labels=np.asfortranarray(LABELS))).array, LABELS
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(archive(other=LABELS), "lacks an array called labels", id="other name"),
        pytest.param(archive(labels=np.array(["a"])), "labels must hold numbers", id="text"),
        pytest.param(archive(labels=LABELS, affine=np.eye(3)), "affine must be 4 x 4", id="affine"),
        pytest.param(
            archive(labels=LABELS, spacing=np.ones(3)), "spacing needs 2 numbers", id="spacing"
        ),
        pytest.param(archive(labels=np.array(3)), "2 or 3 spatial axes", id="scalar"),
        pytest.param(archive(labels=LABELS)[:60], "the ZIP file is damaged", id="cut short"),
    ],
)
def test_other_archives_are_refused(content, words):
    with pytest.raises(ImageError, match=words):
        read_mask(content)


def test_pickled_objects_are_refused_and_not_loaded():
    with pytest.raises(ImageError, match="must hold numbers, got object"):
        read_mask(archive(labels=np.array([{}], dtype=object)))


def test_an_archive_is_no_image():
    with pytest.raises(ImageError, match="read as a mask only"):
        read_image(archive(labels=LABELS))


def test_a_mask_of_other_dimensions_is_refused():
    with pytest.raises(ImageError, match="a 3D mask is needed, the NumPy archive's is 2D"):
        read_mask(archive(labels=LABELS), dims=3)


def test_an_array_is_inflated_only_as_far_as_its_own_header_and_the_limits_say():
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (10**5, 10**5)}
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("labels.npy", header.getvalue())
    with pytest.raises(ImageTooLargeError, match="got 10,000,000,000"):
        read_mask(buffer.getvalue())
    with pytest.raises(ImageTooLargeError, match="at most 5 pixels"):
        read_mask(archive(labels=LABELS), limits=Limits(max_pixels=5))


def test_a_header_that_is_no_python_is_told_as_damage():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("labels.npy", b"\x93NUMPY\x01\0\x04\0{{{{")
    with pytest.raises(ImageError, match="NumPy archive is damaged"):
        read_mask(file.getvalue(), dims=2)
