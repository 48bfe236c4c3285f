import numpy as np
import pytest
from numpy.random import default_rng

from seg.cuda_driver import cuda_devices
from seg.errors import BackendError, ImageError, PackageError
from seg.images import ClassInfo, Image
from seg.inference import OnnxBackend, Predictor, verify_golden
from seg.inference.labels.postprocess import postprocess
from seg.model_package import ModelPackage, Postprocessing


@pytest.fixture(scope="module")
def predictor(tiny_package):
    return Predictor(ModelPackage.load(tiny_package))


def blocks(shape):
    """Left third dark, middle third grey, right third bright."""
    array = np.zeros((1, *shape), np.uint8)
    third = shape[-1] // 3
    array[..., :third], array[..., third : 2 * third], array[..., 2 * third :] = 25, 128, 204
    return array


@pytest.mark.parametrize("shape", [(96, 96), (33, 90), (7, 30), (200, 60)])
def test_each_voxel_gets_the_class_that_its_intensity_says(predictor, shape):
    mask = predictor.predict(Image(blocks(shape)))
    assert mask.array.shape == shape
    third = shape[1] // 3
    expected = np.repeat([0, 1, 2], [third, third, shape[1] - 2 * third])
    away = np.abs(np.arange(shape[1])[:, None] - [third, 2 * third]).min(axis=1) > 2
    inner = slice(2, -2)
    assert (mask.array[inner][:, away][:, 2:-2] == expected[away][2:-2]).all()


def test_a_mask_lies_where_its_image_lies(predictor):
    affine = np.diag([2.0, 3.0, 1.0, 1.0])
    image = Image(blocks((40, 40)), spacing=(3.0, 2.0), affine=affine)
    mask = predictor.predict(image)
    assert mask.spacing == image.spacing
    np.testing.assert_array_equal(mask.affine, affine)


def test_a_volume_is_segmented_by_a_3d_model(tiny_package_3d):
    mask = Predictor(ModelPackage.load(tiny_package_3d)).predict(Image(blocks((11, 20, 60))))
    assert mask.array.shape == (11, 20, 60)
    assert [mask.array[5, 10, x] for x in (8, 30, 52)] == [0, 1, 2]


def test_a_volume_for_a_2d_model_is_refused(predictor):
    with pytest.raises(ImageError, match="segments 2D images, got one of 3 dimensions"):
        predictor.predict(Image(np.zeros((1, 4, 8, 8), np.uint8)))


def test_two_channels_for_a_model_of_one_are_refused(predictor):
    with pytest.raises(ImageError, match="needs images of 1 channels, got 2"):
        predictor.predict(Image(np.zeros((2, 8, 8), np.uint8)))


def test_the_golden_samples_agree_on_this_machine(tiny_package):
    package = ModelPackage.load(tiny_package)
    assert verify_golden(package, OnnxBackend(package.model_file())) <= 1e-4


def test_a_backend_that_says_something_else_is_refused(tiny_package):
    package = ModelPackage.load(tiny_package)
    right = OnnxBackend(package.model_file())

    class Wrong(OnnxBackend):
        def run(self, patches):
            return 1.1 * right.run(patches)

    with pytest.raises(BackendError, match="disagrees with the package's golden samples"):
        verify_golden(package, Wrong(package.model_file()))


def test_batches_give_what_single_patches_give(tiny_package):
    backend = OnnxBackend(ModelPackage.load(tiny_package).model_file())
    patches = default_rng(0).uniform(size=(5, 1, 32, 32)).astype(np.float32)
    alone = np.concatenate([backend.run(patch[None]) for patch in patches])
    np.testing.assert_allclose(backend.run(patches), alone, atol=1e-5)


def test_a_file_that_is_no_model_is_one_clear_error(tmp_path):
    (tmp_path / "network.onnx").write_bytes(b"not a model")
    with pytest.raises(BackendError, match=r"cannot load network\.onnx"):
        OnnxBackend(tmp_path / "network.onnx")


@pytest.mark.skipif(cuda_devices() > 0, reason="has a CUDA device")
def test_cuda_asked_for_in_vain_is_one_clear_error(tiny_package):
    package = ModelPackage.load(tiny_package)
    with pytest.raises(BackendError, match="CUDA was asked for, but"):
        OnnxBackend(package.model_file(), provider="cuda")


def test_components_that_are_too_small_are_removed():
    labels = np.zeros((9, 9), np.uint8)
    labels[0, 0] = 1
    labels[3:6, 3:6] = 1
    labels[8, 8] = 2
    classes = [ClassInfo(index=i, name=n, color=(0, 0, 0)) for i, n in enumerate("abc")]
    kept = postprocess(labels, Postprocessing(smallest_component={"b": 5}), classes)
    assert np.count_nonzero(kept == 1) == 9
    assert kept[8, 8] == 2


def test_an_unknown_variant_is_answered_with_those_there_are(tiny_package):
    with pytest.raises(PackageError, match="no variant 'int8' in this package; it has float32"):
        ModelPackage.load(tiny_package).model_file("int8")
