"""Packages that would take a service along, as they come by PUT /models/NAME."""

import zipfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from seg.errors import BackendError, PackageError
from seg.inference.backends.onnx import OnnxBackend
from service.errors import DecodingFullError
from service.models.trial import try_out

PATCH = (1, 1, 16, 16)
MEMORY = 4_000_000_000


def constant(name, values):
    return numpy_helper.from_array(np.asarray(values), name)


def network(folder, nodes, constants=()):
    shape = ["b", *PATCH[1:]]
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("patches", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        list(constants),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (folder / "network.onnx").write_bytes(model.SerializeToString())


def endless(folder):
    """Nothing but turns of a loop."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["again"]),
            helper.make_node("Neg", ["x"], ["y"]),
        ],
        "turn",
        [value("n", TensorProto.INT64, []), value("go", TensorProto.BOOL, []),
         value("x", TensorProto.FLOAT, None)],
        [value("again", TensorProto.BOOL, []), value("y", TensorProto.FLOAT, None)],
    )  # fmt: skip
    loop = helper.make_node("Loop", ["turns", "yes", "patches"], ["logits"], body=body)
    network(folder, [loop], [constant("turns", 2**62), constant("yes", True)])


def huge(folder):
    """Ten lines that ask for 40 GB."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["sum"]),
        helper.make_node("Add", ["patches", "sum"], ["logits"]),
    ]
    network(folder, nodes, [constant("shape", np.array([100_000, 100_000]))])


def swollen(folder):
    """Golden samples that say that they are 600 MB."""
    network(folder, [helper.make_node("Neg", ["patches"], ["logits"])])
    told = {"descr": "<f4", "fortran_order": False, "shape": (150_000_000,)}
    path = folder / "golden.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("patches.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, told)
        file.write(bytes(1000))


@pytest.mark.parametrize(
    ("write", "says"),
    [(endless, "longer than 2 s"), (huge, "more than the 500 MB"), (swollen, "more than the 500")],
)
def test_a_package_that_takes_everything_is_refused_and_ended(tmp_path, write, says):
    np.savez(tmp_path / "golden.npz", patches=np.zeros(PATCH, np.float32))
    write(tmp_path)
    with pytest.raises(PackageError, match=says):
        try_out(tmp_path, ["network.onnx"], seconds=2, memory=500_000_000)


def test_what_a_package_takes_is_told_and_ends_where_there_is_no_room_for_it(tmp_path):
    np.savez(tmp_path / "golden.npz", patches=np.zeros(PATCH, np.float32))
    endless(tmp_path)
    seen = []

    def took(used):
        """No room at the third look: how much it has by then depends on the machine."""
        seen.append(used)
        if len(seen) == 3:
            raise DecodingFullError

    with pytest.raises(DecodingFullError):
        try_out(tmp_path, ["network.onnx"], seconds=60, memory=MEMORY, took=took)
    assert len(seen) == 3
    assert seen[-1] > 0


def test_a_package_that_is_merely_wrong_is_left_to_its_proof(tmp_path):
    network(tmp_path, [helper.make_node("Neg", ["patches"], ["logits"])])
    (tmp_path / "golden.npz").write_bytes(b"none")
    try_out(tmp_path, ["network.onnx"], seconds=60, memory=MEMORY)


def test_what_crashes_openvino_alone_crashes_no_service(tmp_path):
    """To OpenVINO a tensor may lie at an address in memory, which onnxruntime refuses."""
    np.savez(tmp_path / "golden.npz", patches=np.zeros(PATCH, np.float32))
    weights = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, 1, 1, 1])
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="*/_ORT_MEM_ADDR_/*")
    weights.external_data.add(key="offset", value="64")
    weights.external_data.add(key="length", value="4")
    network(tmp_path, [helper.make_node("Conv", ["patches", "w"], ["logits"])], [weights])
    try_out(tmp_path, ["network.onnx"], seconds=60, memory=MEMORY, provider="cpu")
    with pytest.raises(PackageError, match="crashes over the package"):
        try_out(tmp_path, ["network.onnx"], seconds=60, memory=MEMORY)


@pytest.mark.parametrize("place", ["/etc/passwd", "../../etc/passwd", "link"])
def test_weights_outside_of_the_package_are_not_read(tmp_path, place):
    (tmp_path / "link").symlink_to("/etc/passwd")
    weights = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, 1, 1, 1])
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=place)
    network(tmp_path, [helper.make_node("Conv", ["patches", "w"], ["logits"])], [weights])

    with pytest.raises(BackendError, match="External data path"):
        OnnxBackend(tmp_path / "network.onnx", provider="cpu")
