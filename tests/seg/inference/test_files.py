from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
import tifffile
from numpy.random import default_rng

from seg.errors import ImageError, UnsupportedImageError
from seg.images import Image, read_image, read_mask, write_image
from seg.inference import Predictor, predict_file
from seg.model_package import ModelPackage, Postprocessing
from seg.transforms import Normalisation, Preprocessing, prepare_rows


def smooth(shape):
    """Blobs, so that no logit is near a tie on all sides."""
    array = default_rng(0).uniform(0, 255, [n // 8 + 1 for n in shape])
    for axis, n in enumerate(shape):
        array = np.repeat(array, 8, axis=axis).take(range(n), axis=axis)
    return array


@pytest.fixture
def streaming():
    with patch("seg.inference.slab_logits.prepare_rows", partial(prepare_rows, whole_bytes=0)):
        yield


@pytest.mark.usefixtures("streaming")
def test_a_tiled_picture_becomes_a_tiled_mask(tiny_package, tmp_path):
    pixels = smooth((200, 150)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", pixels, tile=(64, 64), compression="zlib")
    predictor = Predictor(ModelPackage.load(tiny_package))
    counts = predict_file(predictor, tmp_path / "in.tif", tmp_path / "out.tif", "tiff")
    expected = predictor.predict(Image(pixels[None])).array
    np.testing.assert_array_equal(read_mask(tmp_path / "out.tif").array, expected)
    assert len(np.unique(expected)) == 3
    assert counts.total == 12 * 9


@pytest.mark.usefixtures("streaming")
@pytest.mark.parametrize("name", ["out.nii", "out.nii.gz"])
def test_a_volume_is_resampled_there_and_back(tiny_package_3d, tmp_path, name):
    package = ModelPackage.load(tiny_package_3d)
    rule = Normalisation(kind="rescale", low=0, high=255)
    wanted = Preprocessing(spacing=(1.0, 1.0, 1.0), normalisation=(rule,))
    changed = package.card.input.model_copy(update={"preprocessing": wanted})
    card = package.card.model_copy(update={"input": changed})
    predictor = Predictor(ModelPackage(package.path, card))
    affine = np.diag([0.8, 0.8, 2.0, 1])
    write_image(
        tmp_path / "in.nii.gz",
        Image(smooth((20, 50, 40))[None].astype(np.int16), (2.0, 0.8, 0.8), affine),
    )
    predict_file(predictor, tmp_path / "in.nii.gz", tmp_path / name, "nifti")
    mask = read_mask(tmp_path / name)
    np.testing.assert_allclose(mask.affine, affine, atol=1e-6)
    expected = predictor.predict(read_image(tmp_path / "in.nii.gz")).array
    assert np.mean(mask.array != expected) < 1e-3


def test_rules_of_postprocessing_hold_for_files_as_well(tiny_package, tmp_path):
    package = ModelPackage.load(tiny_package)
    rules = Postprocessing(smallest_component={"nucleus": 50})
    card = package.card.model_copy(update={"postprocessing": rules})
    pixels = np.full((64, 64), 25, np.uint8)
    pixels[5:9, 5:9] = pixels[30:50, 30:50] = 204
    tifffile.imwrite(tmp_path / "in.tif", pixels)
    predictor = Predictor(ModelPackage(package.path, card))
    predict_file(predictor, tmp_path / "in.tif", tmp_path / "out.tif", "tiff")
    mask = read_mask(tmp_path / "out.tif").array
    assert mask[40, 40] == 2
    assert not (mask[:20, :20] == 2).any()


def test_an_image_that_does_not_fit_leaves_no_file_behind(tiny_package, tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((9, 9, 3), np.uint8), photometric="rgb")
    predictor = Predictor(ModelPackage.load(tiny_package))
    with pytest.raises(ImageError, match="needs images of 1 channels, got 3"):
        predict_file(predictor, tmp_path / "in.tif", tmp_path / "out.tif", "tiff")
    assert not (tmp_path / "out.tif").exists()


def test_a_format_that_must_be_written_whole_is_refused(tiny_package, tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((9, 9), np.uint8))
    predictor = Predictor(ModelPackage.load(tiny_package))
    with pytest.raises(
        UnsupportedImageError, match=r"written as tiff or nifti or geojson or .*, got 'png'"
    ):
        predict_file(predictor, tmp_path / "in.tif", tmp_path / "out.png", "png")
