import numpy as np
import onnx
import pytest
from numpy.random import default_rng
from onnx import TensorProto, helper

from seg.files import sha256_of
from seg.images import Image
from seg.inference import OnnxBackend, Predictor
from seg.inference.backends.features import OUTPUT, listening
from seg.inference.backends.openvino import OpenVinoBackend
from seg.metrics import DiceCalibration, FeatureStatistics, SelfAssessment, ShiftCalibration
from seg.model_package import ModelPackage, read_card, write_card
from service.batching.batches import BatchScheduler
from service.batching.one_by_one import InPlaceScheduler
from service.batching.request_backend import SharedBackend
from service.batching.scheduler import BatchingPolicy
from tests.packages import write_package

SHIFT = ShiftCalibration(
    usual=0.9, lowest=0.8, level=4, by_doubt=1, by_strangeness=2, error=(0.02, 0.05, 0.1),
    interval=2, pieces=50, voxels=1000, mean_error=0.03,
)  # fmt: skip


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Its network tells the mean intensity of a patch as its one feature."""
    folder = write_package(tmp_path_factory.mktemp("watched") / "package")
    file = folder / "network.onnx"
    model = onnx.load(file)
    mean = helper.make_node("ReduceMean", ["patches", "axes"], [OUTPUT], keepdims=0)
    model.graph.node.append(mean)
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    model.graph.initializer.append(axes)
    model.graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["b", 1]))
    onnx.checker.check_model(model)
    onnx.save(model, file)
    rng = default_rng(0)
    usual = [rng.normal(0.4, 0.05, (4, 1)).astype(np.float32) for _ in range(6)]
    quality = SelfAssessment(
        dice={"nucleus": DiceCalibration(cases=6, expected_error=0.01, shift=SHIFT)},
        features=FeatureStatistics.of(file.name, usual, allowance=1.5),
    )
    card = read_card(folder)
    variant = card.variants[0].model_copy(update={"sha256": sha256_of(file)})
    write_card(folder, card.model_copy(update={"variants": (variant,), "quality": quality}))
    return ModelPackage.load(folder)


def image(level):
    """Of nuclei's intensity all over, in 0 to 255."""
    array = default_rng(1).normal(255 * level, 3, (1, 70, 50)).clip(0, 255)
    return Image(array.astype(np.float32))


@pytest.fixture(params=["alone", "one by one", "batches", "openvino"])
def backend(request, package):
    if request.param == "openvino":
        pytest.importorskip("openvino", reason="no openvino here: pip install openvino")
        yield OpenVinoBackend(package.model_file(), threads=2)
        return
    own = OnnxBackend(package.model_file(), provider="cpu", threads=2)
    if request.param == "alone":
        yield own
        return
    kind, size = (InPlaceScheduler, 1) if request.param == "one by one" else (BatchScheduler, 4)
    scheduler = kind(own, BatchingPolicy(runners=1, batch_size=size))
    yield SharedBackend(scheduler)
    scheduler.close()


@pytest.mark.parametrize("mirror", [False, True])
def test_what_the_network_sees_is_heard_however_it_is_run(package, backend, mirror):
    found = [
        Predictor(package, backend, mirror=mirror).segment(image(level)).quality
        for level in (0.4, 0.75)
    ]
    usual, strange = (quality.strangeness for quality in found)
    assert usual < 2
    assert strange > 3


def test_a_strange_image_gets_a_lower_dice_a_larger_error_and_a_warning(package):
    backend = OnnxBackend(package.model_file(), provider="cpu")
    blind = package.card.quality.model_copy(update={"features": None})
    card = package.card.model_copy(update={"quality": blind})
    usual, strange = (
        Predictor(each, backend).segment(image(0.9)).quality
        for each in (ModelPackage(package.path, card), package)
    )
    assert usual.strangeness is None
    assert strange.strangeness > 3
    assert strange.predicted_dice["nucleus"] < usual.predicted_dice["nucleus"]
    assert strange.expected_error["nucleus"] > usual.expected_error["nucleus"]
    low, high = strange.interval["nucleus"]
    assert 0 <= low <= strange.predicted_dice["nucleus"] <= high <= 1
    assert any("times as far" in warning for warning in strange.warnings)


def test_nobody_is_told_what_nobody_asked_for(package):
    backend = OnnxBackend(package.model_file(), provider="cpu")
    patches = np.zeros((3, 1, 32, 32), np.float32)
    with listening() as heard:
        backend.run(patches)
        with listening() as inner:
            backend.run(patches[:1])
    backend.run(patches)
    assert [len(each.features) for each in heard] == [3]
    assert [len(each.features) for each in inner] == [1]
