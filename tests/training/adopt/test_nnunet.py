"""Results folders of nnU-Net, recorded with what nnU-Net itself says of them.

``benchmarks/peers/nnunet/record.py`` wrote them; nnU-Net is not needed here.
"""

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from seg.errors import ConfigError
from seg.images import read_channels
from seg.inference import Predictor, load_backend
from seg.inference.labels.postprocess import postprocess
from seg.model_package import ModelPackage, Postprocessing
from seg.model_package.provenance import ANY_INTENSITY
from training.adopt import main
from training.export import main as export
from training.interchange.adopted_package import patches_of, write_adopted
from training.interchange.checkpoint import read_checkpoint
from training.interchange.monai.adopt import adopt_monai
from training.interchange.nnunet.adopt import Choice, adopt_nnunet
from training.interchange.nnunet.axes import AxisMap
from training.interchange.nnunet.card import _normalisation, _usual_range, preprocessing_of
from training.interchange.nnunet.network import network_of
from training.interchange.nnunet.results import fold_files, read_results

RECORDED = Path(__file__).parent / "recorded"
NAMES = ("thick", "picture", "slices")
EVERY = 3
"""Of nnU-Net's last axis every third logit was kept."""
EQUAL = 0.9999
"""Share of voxels; nnU-Net adds logits up in half precision."""

RESAMPLING_FUNCTIONS = ("resample_data_or_seg_to_shape", "no_resampling_hack")
"""Of nnU-Net's, which finds them by name."""


@pytest.fixture(scope="module")
def thick():
    """The model of two folds with its postprocessing, before it is written."""
    return adopt_nnunet(RECORDED / "thick" / "results", Choice())[0]


@pytest.fixture(scope="module")
def packages(thick, tmp_path_factory):
    """Of every recorded folder, without its postprocessing."""
    folders = {name: tmp_path_factory.mktemp(name) / "package" for name in NAMES}
    write_adopted(replace(thick, postprocessing=Postprocessing()), folders["thick"], "a test")
    for name in ("picture", "slices"):
        adopt(RECORDED / name / "results", "-o", folders[name], "--no-postprocessing")
    return {name: ModelPackage.load(folder) for name, folder in folders.items()}


def adopt(*arguments, expected=0):
    assert main(["nnunet", *map(str, arguments)]) == expected


def said_by_nnunet(name):
    return np.load(RECORDED / name / "nnunet.npz")


def image_of(name):
    files = sorted((RECORDED / name).glob("case_*"))
    return read_channels(files, dims=2 if name == "picture" else 3)


def moved(name):
    """nnU-Net's last axis, among the file's axes, to the end."""
    return {"thick": 2, "picture": 2, "slices": 3}[name], -1


def in_our_axes(name, array):
    """A patch of nnU-Net's network, channels first, as the image's file has its axes."""
    plans = json.loads((RECORDED / name / "results" / "plans.json").read_text())
    if name == "picture":
        return array
    if name == "slices":
        array = array[:, None]
    return array.transpose(0, *(1 + axis for axis in plans["transpose_backward"]))


@pytest.mark.parametrize("name", NAMES)
def test_logits_of_a_patch_are_nnunets(packages, name):
    said = said_by_nnunet(name)
    patch = np.ascontiguousarray(in_our_axes(name, said["patch"]))[None]
    for variant, expected in zip(packages[name].card.variants, said["logits"], strict=True):
        backend = load_backend(packages[name], variant.name, provider="cpu")
        logits = np.moveaxis(backend.run(patch)[0], *moved(name))[..., ::EVERY]
        np.testing.assert_allclose(
            logits, np.moveaxis(in_our_axes(name, expected), *moved(name)), atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("mirror", [False, True], ids=["plain", "mirrored"])
@pytest.mark.parametrize("name", NAMES)
def test_masks_are_nnunets(packages, name, mirror):
    expected = said_by_nnunet(name)["mask_mirrored" if mirror else "mask_plain"].squeeze()
    backend = load_backend(packages[name], provider="cpu")
    mask = Predictor(packages[name], backend, mirror=mirror).predict(image_of(name)).array
    assert len(np.unique(expected)) == len(packages[name].card.classes)
    assert (mask == expected).mean() >= EQUAL


@pytest.mark.parametrize(
    ("scheme", "width", "expected"),
    [
        ("CTNormalization", 380, (-1024, 1024)),
        ("CTNormalization", 1500, (-1024, 1500)),
        ("CTNormalization", 80, ANY_INTENSITY),
        ("RGBTo01Normalization", 100, (0, 255)),
        ("NoNormalization", 100, ANY_INTENSITY),
    ],
)
def test_intensities_of_the_foreground_are_not_taken_for_those_of_whole_images(
    scheme, width, expected
):
    measured = {"percentile_00_5": 0, "percentile_99_5": width, "mean": width / 2, "std": width / 9}
    assert _usual_range(_normalisation(scheme, False, measured)) == expected


@pytest.mark.parametrize("name", NAMES)
def test_images_of_the_training_are_not_called_unlike_it(packages, name):
    assert Predictor(packages[name]).warnings(image_of(name)) == ()


def test_learned_postprocessing_comes_along(thick):
    said = said_by_nnunet("thick")
    assert (said["mask_plain"] != said["mask_postprocessed"]).mean() > 0.001
    kept = postprocess(said["mask_plain"], thick.postprocessing, thick.classes)
    np.testing.assert_array_equal(kept, said["mask_postprocessed"])


def test_one_fold_is_one_network():
    folds = fold_files(read_results(RECORDED / "thick" / "results"), ["1"], None)
    assert list(folds) == ["fold_1"]


def test_regions_and_the_ignore_label_keep_their_meaning(packages):
    card = packages["picture"].card
    assert card.task == "regions"
    assert [info.name for info in card.classes] == ["background", "cell", "nucleus"]


def test_golden_samples_come_from_images(packages):
    spec = packages["slices"].card.input
    patches = patches_of(RECORDED / "slices" / "case_0000.nii.gz", spec)
    assert patches.shape[1:] == (1, *spec.patch)
    assert 0 <= patches.min() < patches.max() <= 1


@pytest.fixture
def results(tmp_path):
    target = tmp_path / "results"
    shutil.copytree(RECORDED / "slices" / "results", target)
    return target


def refused(results, capsys, *arguments):
    package = results.parent / "package"
    adopt(results, "-o", package, *arguments, expected=2)
    assert not package.exists()
    return capsys.readouterr().err


class Trap:
    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return Path.touch, (self.flag,)


def test_a_hostile_checkpoint_runs_nothing(results, tmp_path, capsys):
    file = results / "fold_0" / "checkpoint_final.pth"
    flag = tmp_path / "was-run"
    checkpoint = torch.load(file, weights_only=False)
    torch.save(checkpoint | {"logging": Trap(flag)}, file)
    assert "nothing was run" in (said := refused(results, capsys))
    assert "weights_only=False" in said  # what to do in nnU-Net's own environment
    assert not flag.exists()
    torch.load(file, weights_only=False)
    assert flag.exists()  # the trap works


def test_a_damaged_checkpoint_is_told(results, capsys):
    file = results / "fold_0" / "checkpoint_final.pth"
    whole = file.read_bytes()
    file.write_bytes(whole[:1000])
    assert "cannot be read: it is cut off" in refused(results, capsys)
    middle = len(whole) // 2
    file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :])
    assert "is damaged; copy it again" in refused(results, capsys)
    file.write_bytes(pickle.dumps({"a": 1}))
    assert "error: " in refused(results, capsys)


def changed(results, **fields):
    plans = json.loads((results / "plans.json").read_text())
    configuration = plans["configurations"]["2d"]
    network = configuration["architecture"]
    for name, value in fields.items():
        place = network["arch_kwargs"] if name in network["arch_kwargs"] else configuration
        (network if name in network else place)[name] = value
    (results / "plans.json").write_text(json.dumps(plans))
    return read_results(results)


def test_plans_of_another_training_are_told(results, capsys):
    changed(results, features_per_stage=[4, 6, 16])
    assert "are plans.json and checkpoint of one training?" in refused(results, capsys)


def understood(results):
    configuration = results.configuration("2d")
    axes = AxisMap.of_plans((0, 1, 2), 2, flat=False)
    preprocessing_of(results, configuration, axes)
    network_of(configuration["architecture"], 1, 3, axes)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("preprocessor_name", "MyPreprocessor", "MyPreprocessor"),
        ("resampling_fn_data", "resample_torch_fornnunet", "resample_torch_fornnunet"),
        ("previous_stage", "3d_lowres", "cascade"),
        ("normalization_schemes", ["MyScheme"], "MyScheme"),
        ("network_class_name", "somewhere.Primus", "Primus"),
        ("nonlin", "torch.nn.ReLU", "ReLU"),
        ("n_conv_per_stage_decoder", [2, 2], "n_conv_per_stage_decoder"),
    ],
)
def test_what_packages_cannot_hold_is_refused_by_name(results, field, value, words):
    found = changed(results, **{field: value})
    with pytest.raises(ConfigError, match=words):
        understood(found)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("patch_size", None, "patch_size: Input should be a valid list"),
        ("strides", "2", "strides"),
        ("n_stages", None, "n_stages"),
        ("architecture", 7, "architecture"),
    ],
)
def test_plans_that_nnunet_would_not_write_are_told(results, field, value, words):
    found = changed(results, **{field: value})
    with pytest.raises(ConfigError, match=f"not as nnU-Net 2 writes it: {words}"):
        understood(found)


def test_a_file_without_what_is_needed_is_told(results):
    (results / "dataset.json").write_text('{"labels": [], "file_ending": ".png"}')
    with pytest.raises(ConfigError, match=r"dataset\.json is not as nnU-Net 2 writes it: labels"):
        read_results(results)


def test_a_wrong_folder_is_explained(results):
    with pytest.raises(ConfigError, match="below it lie results"):
        read_results(results.parent)
    with pytest.raises(ConfigError, match="name the folder above it"):
        read_results(results / "fold_0")
    with pytest.raises(ConfigError, match="has no fold_3"):
        fold_files(read_results(results), ["3"], None)


@pytest.mark.parametrize(
    ("name", "last_fold"), [pytest.param("thick", 1, marks=pytest.mark.long), ("picture", 0)]
)
def test_the_way_back_is_a_results_folder_of_the_same_model(packages, name, last_fold, tmp_path):
    back, package = tmp_path / "results", packages[name]
    assert export([str(package.path), "-o", str(back), "--to", "nnunet"]) == 0
    (configuration,) = read_results(back).plans["configurations"].values()
    assert configuration["resampling_fn_data"] in RESAMPLING_FUNCTIONS
    folds = fold_files(read_results(back), [], None)
    assert len(folds) == len(package.card.variants)
    model, _ = adopt_nnunet(back, Choice((str(last_fold),)))
    assert (model.task, model.input) == (package.card.task, package.card.input)
    golden = package.golden(package.card.variants[last_fold].name)
    (network,) = model.networks.values()
    np.testing.assert_allclose(network.logits(golden.patches), golden.logits, atol=1e-4)
    theirs, ours = (  # sorted, as the axes of "thick" were turned
        {n: sorted(t.shape) for n, t in read_checkpoint(file, ["network_weights"]).weights.items()}
        for file in (
            next(iter(fold_files(read_results(folder), [], None).values()))
            for folder in (RECORDED / name / "results", back)
        )
    )
    assert ours == theirs


def test_what_nnunet_has_not_is_refused(packages, tmp_path, capsys):
    arguments = [str(packages["slices"].path), "-o", str(tmp_path / "out"), "--to", "nnunet"]
    assert export(arguments) == 2
    assert "resamples all axes" in capsys.readouterr().err


def test_a_program_of_torch_says_what_the_package_says(packages, tmp_path):
    package = packages["slices"]
    assert export([str(package.path), "-o", str(tmp_path / "out"), "--to", "torch"]) == 0
    golden = package.golden()
    program = torch.export.load(tmp_path / "out" / "fold_0.pt2").module()
    with torch.inference_mode():
        logits = program(torch.from_numpy(golden.patches)).numpy()
    np.testing.assert_allclose(logits, golden.logits, atol=1e-4)


def test_a_bundle_of_an_adopted_model_is_adopted_again(packages, tmp_path):
    package = packages["slices"]
    assert export([str(package.path), "-o", str(tmp_path / "bundle"), "--to", "monai"]) == 0
    model, _ = adopt_monai(tmp_path / "bundle")
    assert model.input.preprocessing == package.card.input.preprocessing
    golden = package.golden()
    np.testing.assert_allclose(
        model.networks["full"].logits(golden.patches), golden.logits, atol=1e-4
    )
