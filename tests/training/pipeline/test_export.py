"""A run to a package, and to a MONAI bundle that MONAI itself loads."""

import io
import json
from contextlib import redirect_stdout

import numpy as np
import PIL.Image
import pytest
import torch

from data.phantom import draw
from seg.errors import PackageError
from seg.held_folders import new_folder
from seg.images import write_image
from seg.inference import load_backend, verify_golden
from seg.model_package import Empty, ModelPackage
from seg.networks import ResidualUNet
from training.adopt import main as adopt
from training.dataset import load_dataset
from training.dataset.fingerprint import take_fingerprint
from training.export import main
from training.learning.callbacks import CHECKPOINT_FILE
from training.learning.checkpoint import trained_in
from training.planning.rules import make_plan
from training.run.folder import RunFolder
from training.run.plan_yaml import read_plan, write_plan


@pytest.fixture(scope="module", params=[2, 3])
def run(request, tmp_path_factory):
    """A folder with what fit leaves before it exports; the network has random weights."""
    dims = request.param
    run = RunFolder(tmp_path_factory.mktemp("export") / "run")
    size, patch = ((48, 40), (32, 32)) if dims == 2 else ((8, 32, 32), (8, 16, 16))
    data = draw(run.path / "data", dims=dims, cases=4, size=size)
    dataset = load_dataset(data)
    fingerprint = take_fingerprint(
        map(dataset.read, dataset.train), dataset.legend, np.random.default_rng(0)
    )
    chosen = {"dataset": dataset.name, "data": str(data), "minutes": 1.0, "patch": patch}
    chosen["empty"] = Empty(side="below", limits=(-1.0,) * len(dataset.channels))
    plan = make_plan(fingerprint, dataset.channels, "cpu", **chosen)
    run.fingerprint.write_text(fingerprint.model_dump_json())
    write_plan(plan, run.plan)
    torch.manual_seed(0)
    network = ResidualUNet(plan.network_config(dataset.legend.outputs))
    weights = {f"network.{name}": weight for name, weight in network.state_dict().items()}
    spent = {"StopInTime": {"spent_s": 1.0}}
    state = {"global_step": 3, "state_dict": weights, "callbacks": spent}
    torch.save(state, run.path / CHECKPOINT_FILE)
    return run


def network_of(run):
    return trained_in(run, read_plan(run.plan), load_dataset(run.path / "data").legend).network


@pytest.fixture(scope="module")
def exported(run):
    """The package of a run, and what was printed meanwhile."""
    target, told = run.path.parent / "package", io.StringIO()
    with redirect_stdout(told):
        assert main([str(run.path / CHECKPOINT_FILE), "-o", str(target)]) == 0
    return ModelPackage.load(target), told.getvalue()


def test_a_checkpoint_becomes_a_proven_package(run, exported):
    package, told = exported
    assert verify_golden(package, load_backend(package)) <= 1e-4
    assert package.card.input.empty == read_plan(run.plan).empty
    golden = package.golden()
    with torch.inference_mode():
        logits = network_of(run)(torch.from_numpy(golden.patches)).numpy()
    np.testing.assert_allclose(golden.logits, logits, atol=1e-4)
    assert "ONNX and network agree to" in told


def test_an_export_says_how_far_the_training_came(exported):
    package, told = exported
    assert package.card.provenance.steps == 3
    assert "trained 3 of " in told or "trained 3 steps" in told


def test_a_package_can_carry_an_example_and_get_one_later(run, exported, tmp_path, capsys):
    bare, _ = exported
    dataset = load_dataset(run.path / "data")
    image, _ = dataset.read(dataset.test[0])
    source = tmp_path / ("Jane Doe.tif" if dataset.dims == 2 else "Jane Doe.nii.gz")
    write_image(source, image)
    wish = ["--example", str(source), "--about", "A phantom; CC0."]
    assert main([str(bare.path), "-o", str(tmp_path / "with"), *wish]) == 0
    package = ModelPackage.load(tmp_path / "with")
    example = package.card.example
    assert example.about == "A phantom; CC0."
    assert "Jane" not in "".join(example.files)
    (name,) = example.files
    assert (package.path / name).read_bytes() == source.read_bytes()
    assert ModelPackage.load(bare.path).card.example is None
    verify_golden(package, load_backend(package))
    capsys.readouterr()
    for wrong, word in (
        ([*wish[:2], "--to", "monai"], "leave --to out"),
        (wish[2:], "--example"),
        (["--example", str(tmp_path)], "is none"),
    ):
        assert main([str(run.path), "-o", str(tmp_path / "never"), *wrong]) == 2
        assert word in capsys.readouterr().err
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("run", [2], indirect=True)
def test_a_package_shows_test_cases_where_its_maker_says_so(run, tmp_path, capsys):
    assert main([str(run.path), "-o", str(tmp_path / "shown"), "--show-cases"]) == 0
    package = ModelPackage.load(tmp_path / "shown")
    cases = package.card.pictured_cases
    assert [case.rank for case in cases] == ["median"], "there is one test case"
    assert 0 < cases[0].dice < 1
    for case in cases:
        for name in case.files:
            with PIL.Image.open(package.path / name) as picture:
                assert picture.format == "WEBP"
                assert picture.width > 100
    names = [case.name for case in load_dataset(run.path / "data").cases]
    assert not [name for name in names if name in (package.path / "model.json").read_text()]
    (package.path / cases[0].files[0]).write_bytes(b"another")
    with pytest.raises(PackageError, match="changed after the export"):
        ModelPackage.load(package.path)
    capsys.readouterr()
    assert main([str(package.path), "-o", str(tmp_path / "never"), "--show-cases"]) == 2
    assert "name the run" in capsys.readouterr().err


def test_monai_loads_the_bundle_and_hears_the_same_logits(run, tmp_path):
    from monai.bundle import ConfigParser, load

    assert main([str(run.path), "-o", str(tmp_path / "mine"), "--to", "monai"]) == 0
    loaded = load("mine", bundle_dir=tmp_path, workflow_type="inference", source="local")
    plan = read_plan(run.plan)
    patches = torch.randn(2, 2, *plan.patch)
    with torch.inference_mode():
        expected = network_of(run)(patches)
        torch.testing.assert_close(loaded.eval().cpu()(patches), expected)

    parser = ConfigParser()
    parser.read_config(tmp_path / "mine" / "configs" / "inference.json")
    parser["bundle_root"] = str(tmp_path / "mine")
    parser["device"] = "cpu"
    parser.get_parsed_content("weights")
    network = parser.get_parsed_content("network")
    with torch.inference_mode():
        torch.testing.assert_close(network(patches), expected)
        inferer = parser.get_parsed_content("inferer")
        assert inferer(patches[:1], network).shape == expected[:1].shape


def test_monai_s_own_check_finds_inputs_and_outputs_as_the_metadata_say(run, tmp_path):
    from monai.bundle import verify_net_in_out

    assert main([str(run.path), "-o", str(tmp_path / "mine"), "--to", "monai"]) == 0
    configs = tmp_path / "mine" / "configs"
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / "inference.json"),
        device="cpu",
    )
    metadata = json.loads((configs / "metadata.json").read_text())
    output = metadata["network_data_format"]["outputs"]["pred"]
    assert output["channel_def"] == {"0": "background", "1": "cytoplasm", "2": "nucleus"}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda path: path.mkdir(), "holds no run", id="no run"),
        pytest.param(lambda path: None, "holds no run", id="no folder"),
    ],
)
def test_what_is_no_run_is_one_sentence(make, words, tmp_path, capsys):
    make(tmp_path / "run")
    assert main([str(tmp_path / "run"), "-o", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_run_without_a_checkpoint_is_one_sentence(run, tmp_path, capsys):
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in (run.plan, run.fingerprint):
        (bare / file.name).write_bytes(file.read_bytes())
    assert main([str(bare), "-o", str(tmp_path / "out")]) == 2
    assert "has no checkpoint.ckpt" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_empty_is_left_alone(run, tmp_path, capsys):
    (tmp_path / "mine").write_text("x")
    assert main([str(run.path), "-o", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_two_commands_do_not_make_one_folder(tmp_path, capsys):
    target = tmp_path / "out"
    with new_folder(target):
        assert main([str(tmp_path / "run"), "-o", str(target)]) == 2
        assert adopt(["monai", str(tmp_path / "bundle"), "-o", str(target)]) == 2
        told = capsys.readouterr().err.splitlines()
        assert [line.startswith(f"error: another command is writing to {target};") for line in told]
        assert len(told) == 2
    assert list(tmp_path.iterdir()) == []
