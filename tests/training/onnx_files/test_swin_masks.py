"""What is written of shifted windows is what MONAI computes."""

import pytest
import torch
from monai.networks.nets import swin_unetr

from training.onnx_files.swin_masks import short_masks, window_mask


@pytest.mark.parametrize(
    ("dims", "window", "shift"),
    [
        pytest.param((14, 7, 21), (7, 7, 7), (3, 0, 3), id="volume, one axis of one window"),
        pytest.param((14, 14), (7, 7), (3, 3), id="picture"),
        pytest.param((4, 4, 4), (4, 4, 4), (0, 0, 0), id="not shifted"),
    ],
)
def test_short_masks_are_monai_s_own(dims, window, shift):
    own = swin_unetr.compute_mask(list(dims), window, shift, "cpu")
    assert torch.equal(window_mask(dims, window, shift, "cpu"), own)


def test_monai_makes_its_masks_itself_again_after_the_file_is_written():
    own = swin_unetr.compute_mask
    with short_masks():
        assert swin_unetr.compute_mask is window_mask
    assert swin_unetr.compute_mask is own
