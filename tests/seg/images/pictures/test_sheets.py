import io

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from seg.images import Image, Mask, encode_mask
from seg.images.pictures.sheets import GAP, PANEL_PIXELS, PANELS, chosen_slices
from tests.seg.images.dicom.files import slice_of

RED, BLUE = (255, 0, 0), (0, 128, 255)


def drawn(labels, classes, channels=None, **grid):
    if channels is None:
        channels = np.zeros((1, *labels.shape), np.uint8)
    headers = grid.pop("headers", ())
    content = encode_mask(
        Mask(labels, **grid), "overlay", classes, Image(channels, **grid, headers=headers)
    )
    return np.asarray(PIL.Image.open(io.BytesIO(content)))


def spot(shape, z, y, x, label=1):
    labels = np.zeros(shape, np.uint8)
    labels[z, y : y + 2, x : x + 2] = label
    return labels


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 30), st.just(2), st.just(2))))
def test_slices_run_from_end_to_end_of_the_foreground_with_the_fullest(labels):
    shown = chosen_slices(labels)
    assert shown == sorted(set(shown))
    assert 1 <= len(shown) <= PANELS
    counts = (labels > 0).sum(axis=(1, 2))
    if counts.any():
        there = np.flatnonzero(counts)
        assert there[0] <= shown[0]
        assert shown[-1] <= there[-1]
        assert max(counts[shown]) == counts.max()


def test_an_empty_volume_is_shown_from_end_to_end():
    shown = chosen_slices(np.zeros((40, 2, 2), np.uint8))
    assert (shown[0], shown[-1], len(shown)) == (0, 39, PANELS)


def test_a_sheet_has_a_panel_a_slice_and_a_legend_of_what_is_there(classes):
    labels = spot((20, 10, 10), 3, 4, 4) + spot((20, 10, 10), 6, 4, 4)
    sheet = drawn(labels, classes)
    assert sheet.shape[1] == 2 * (PANEL_PIXELS + GAP)
    legend = sheet[2 * (PANEL_PIXELS + GAP) :]
    assert (legend == RED).all(axis=-1).any()
    assert not (legend == BLUE).all(axis=-1).any()


def test_a_single_slice_without_a_class_is_drawn_as_well(classes):
    assert drawn(np.zeros((1, 4, 4), np.uint8), classes).shape[:2] == (PANEL_PIXELS + GAP,) * 2


def test_pixels_are_square_in_millimetres(classes):
    sheet = drawn(spot((1, 10, 10), 0, 2, 2), classes, spacing=(3.0, 1.0, 0.5))
    assert sheet.shape[1] == PANEL_PIXELS // 2 + GAP


@pytest.mark.parametrize(
    ("axes", "corner"),
    [
        pytest.param([[1, 0, 0], [0, 1, 0], [0, 0, 1]], (1, 1), id="axial, right and front"),
        pytest.param([[-1, 0, 0], [0, -1, 0], [0, 0, 1]], (0, 0), id="axial as scanned"),
        pytest.param([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], (0, 0), id="sagittal as scanned"),
        pytest.param([[0, 0, 1], [1, 0, 0], [0, 1, 0]], (1, 1), id="sagittal, front and head"),
        pytest.param([[-1, 0, 0], [0, 0, 1], [0, 1, 0]], (1, 0), id="coronal, head first"),
    ],
)
def test_right_front_and_head_are_where_radiologists_look_for_them(classes, axes, corner):
    affine = np.eye(4)
    affine[:3, :3] = axes
    ends = (8, 0) if corner[0] == 1 else (0, 8), (8, 0) if corner[1] == 1 else (0, 8)
    labels = spot((1, 10, 10), 0, ends[0][0], ends[1][0])
    sheet = drawn(labels, classes, spacing=(1.0, 1.0, 1.0), affine=affine)
    rows, columns = np.nonzero((sheet[:PANEL_PIXELS] == RED).all(axis=-1))
    assert rows.max() < PANEL_PIXELS / 4
    assert columns.max() < PANEL_PIXELS / 4


def test_soft_tissue_is_not_all_white_beside_air(classes):
    volume = np.full((1, 3, 40, 40), -1000, np.int16)
    volume[..., 2:38, 2:38] = np.random.default_rng(0).integers(30, 50, (1, 3, 36, 36))
    labels = np.zeros((3, 40, 40), np.uint8)
    labels[:, 10:20, 10:20] = 1
    volume[0][labels == 1] += 40
    sheet = drawn(labels, classes, volume)
    panel = PIL.Image.fromarray(sheet[:PANEL_PIXELS, :PANEL_PIXELS]).resize((40, 40))
    blue = np.asarray(panel)[..., 2]
    assert 30 < blue[26:34, 26:34].mean() < 120
    assert 120 < blue[12:18, 12:18].mean() < 230
    assert blue[22, 0] == 0


def test_the_window_of_a_dicom_header_says_what_is_grey(classes):
    pixels = np.arange(16, dtype=np.int16).reshape(4, 4)
    header = slice_of(pixels, WindowCenter=[8, 100], WindowWidth=[4, 100])
    picture = drawn(np.zeros((4, 4), np.uint8), classes, pixels[None], headers=(header,))
    np.testing.assert_array_equal(picture[..., 0] == 0, pixels <= 6)
    np.testing.assert_array_equal(picture[..., 0] == 255, pixels >= 10)
    header.WindowWidth = [0, 100]
    picture = drawn(np.zeros((4, 4), np.uint8), classes, pixels[None], headers=(header,))
    assert len(np.unique(picture[..., 0])) == 16
