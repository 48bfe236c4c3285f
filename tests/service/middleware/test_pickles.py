"""A pickle runs what it says: nothing of ours reads one, and one that is tried runs nothing."""

import ast
import io
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from seg.errors import SegError
from seg.files import sha256_of
from seg.images import read_image, read_mask
from seg.inference import OnnxBackend
from seg.model_package import ModelPackage, write_card
from seg.networks.foreign.encoders import load_weights
from tests.service.conftest import ROOT
from training.interchange.checkpoint import read_checkpoint as read_foreign_checkpoint
from training.learning.checkpoint import read_checkpoint
from training.samples.prepared_cases import open_case

PRODUCT = ("seg", "service", "training", "data")
CODE = [path for room in PRODUCT for path in (ROOT / room).rglob("*.py")]
ROOMS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
BUILTINS = {"eval", "exec", "compile", "__import__"}


def findings(source: str) -> list[str]:
    """Calls and imports in a file that may run what a file says."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [each.name for each in names if each.name.split(".")[0] in ROOMS]
            case ast.ImportFrom(module=str(room)) if room.split(".")[0] in ROOMS:
                found.append(room)
            case ast.Call(func=ast.Name(id=name)) if name in BUILTINS:
                found.append(name)
            case ast.Call(func=ast.Attribute() as attribute, keywords=keywords):
                call = ast.unparse(attribute)
                values = {each.arg: ast.unparse(each.value) for each in keywords}
                if call == "torch.load" and values.get("weights_only") != "True":
                    found.append(call)
                if call.startswith(("pickle.", "yaml.load", "yaml.unsafe", "np.lib.format.read")):
                    found.append(call)
                if values.get("allow_pickle", "False") != "False":
                    found.append(f"{call}(allow_pickle)")
                if "ckpt_path" in values and values.get("weights_only") != "True":
                    found.append(f"{call}(ckpt_path)")
    return found


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f, allow_pickle=True)",
        "yaml.load(f)",
        "eval(text)",
        "trainer.fit(m, ckpt_path=p)",
    ],
)
def test_the_search_finds_what_it_is_for(line):
    assert findings(line)


def test_no_code_of_ours_reads_pickles():
    found = {str(path.relative_to(ROOT)): findings(path.read_text()) for path in CODE}
    # The first for the name of torch's error alone; the second takes cellpose's masks out of a file
    # whose every name it answers with a stand-in, so that nothing of it is imported or called.
    assert {name: words for name, words in found.items() if words} == {
        "training/interchange/unpickle.py": ["pickle"],
        "training/dataset/annotations/cellpose.py": ["pickle", "pickle.UnpicklingError"],
    }
    assert len(CODE) > 100


@pytest.fixture
def canary(tmp_path) -> Path:
    """A folder that only a pickle that runs would make."""
    return tmp_path / "it ran"


@pytest.fixture
def trap(canary):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(canary),)

    return Trap()


def test_the_trap_works(trap, canary):
    pickle.loads(pickle.dumps(trap))
    assert canary.exists()


def object_array(trap) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([[trap]], object), allow_pickle=True)
    return buffer.getvalue()


def object_archive(trap) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, labels=np.array([[trap]], object))
    return buffer.getvalue()


def torch_file(trap) -> bytes:
    buffer = io.BytesIO()
    torch.save({"state_dict": trap, "global_step": 1}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("made", [pickle.dumps, object_array, object_archive, torch_file])
@pytest.mark.parametrize("read", [read_image, read_mask])
def test_an_image_that_is_a_pickle_is_refused(made, read, trap, canary):
    with pytest.raises(SegError):
        read(made(trap))
    assert not canary.exists()


@pytest.mark.parametrize("made", [pickle.dumps, object_archive, torch_file])
def test_a_package_with_a_pickle_is_refused(made, trap, canary, tiny_package, tmp_path):
    folder = shutil.copytree(tiny_package, tmp_path / "package")
    card = ModelPackage.load(folder).card
    content = made(trap)
    if made is object_archive:
        buffer = io.BytesIO()
        np.savez(buffer, patches=np.array([[trap]], object), logits=np.array([[trap]], object))
        content = buffer.getvalue()
    (folder / "golden.npz").write_bytes(content)
    write_card(folder, card.model_copy(update={"golden_sha256": sha256_of(folder / "golden.npz")}))
    with pytest.raises(SegError):
        ModelPackage.load(folder).golden()
    (folder / "network.onnx").write_bytes(pickle.dumps(trap))
    with pytest.raises(SegError):
        OnnxBackend(folder / "network.onnx", provider="cpu")
    assert not canary.exists()


@pytest.mark.parametrize("made", [pickle.dumps, torch_file])
def test_weights_that_are_a_pickle_are_refused(made, trap, canary, tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(made(trap))
    with pytest.raises(SegError):
        read_checkpoint(file)
    with pytest.raises(SegError):
        read_foreign_checkpoint(file, ("state_dict",))
    with pytest.raises(SegError):
        load_weights(torch.nn.Conv2d(1, 1, 1), file, "any")
    assert not canary.exists()


def test_a_cached_case_that_is_a_pickle_is_refused(trap, canary, tmp_path):
    np.save(tmp_path / "shown.npy", np.array([[1, 0, 1]]))
    case = open_case(tmp_path)
    for name in ("image.npy", "labels.npy", "depths.npy", "places.npy", "shown.npy"):
        (tmp_path / name).write_bytes(object_array(trap))
    for read in (
        lambda: case.image,
        lambda: case.labels,
        lambda: case.depths,
        lambda: case.places_of(1),
        lambda: open_case(tmp_path),
    ):
        with pytest.raises(ValueError, match=r"Array can't be memory-mapped|allow_pickle"):
            read()
    assert not canary.exists()


def test_a_request_that_is_a_pickle_is_refused(client, trap, canary):
    kinds = ("application/vnd.bentoml+pickle", "application/octet-stream", "application/x-npy")
    for made in (pickle.dumps, object_array, torch_file):
        for kind in kinds:
            headers = {"Content-Type": kind}
            for path in ("/segment", "/infer_patches", "/picture"):
                answer = client.post(path, content=made(trap), headers=headers)
                assert 400 <= answer.status_code < 500, (path, kind, answer.text)
    assert not canary.exists()
