from dataclasses import replace

import pytest
import safetensors.torch
import timm
import torch
import torchvision

from seg.errors import ConfigError
from seg.networks import ResidualUNet, preset


def config_of(encoder, in_channels=3):
    return preset(encoder, spatial_dims=2, in_channels=in_channels, num_classes=2)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """torchvision's ResNet-18 with random weights, and its file."""
    torch.manual_seed(0)
    network = torchvision.models.resnet18().eval()
    file = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    safetensors.torch.save_file(network.state_dict(), file)
    return network, file


@pytest.mark.parametrize(
    ("encoder", "features", "strides"),
    [
        ("smp:resnet18", (64, 64, 128, 256, 512), (2, 2, 2, 2, 2)),
        ("tu-resnet18", (64, 64, 128, 256, 512), (2, 2, 2, 2, 2)),
        pytest.param("smp:mit_b0", (32, 64, 160, 256), (4, 2, 2, 2), id="starts at a quarter"),
        pytest.param("tu-convnext_atto", (40, 80, 160, 320), (4, 2, 2, 2), id="the same in timm"),
        pytest.param("smp:vgg11_bn", (64, 128, 256, 512, 512, 512), (1, 2, 2, 2, 2, 2), id="full"),
    ],
)
def test_any_encoder_leads_to_logits_of_the_image_size(encoder, features, strides):
    config = config_of(encoder, in_channels=1)
    assert config.features == features
    assert config.strides == tuple((s, s) for s in strides)
    assert ResidualUNet(config).eval()(torch.zeros(1, 1, 64, 96)).shape == (1, 2, 64, 96)


@pytest.mark.parametrize("encoder", ["smp:resnet18", "tu-resnet18"])
def test_weights_of_a_classifier_give_the_classifiers_features(encoder, classifier):
    network, file = classifier
    encoder = ResidualUNet(replace(config_of(encoder), weights=str(file))).encoder.eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        trunk = torch.nn.Sequential(*list(network.children())[:-2])
        torch.testing.assert_close(encoder(x)[-1], trunk(x))


@pytest.mark.parametrize(
    ("in_channels", "repeated"), [(1, [0, 1, 2]), (2, [0, 1]), (5, [0, 1, 2, 0, 1])]
)
def test_the_first_convolution_answers_to_grey_images_of_any_channels(
    in_channels, repeated, classifier
):
    network, file = classifier
    config = replace(config_of("smp:resnet18", in_channels), weights=str(file))
    weight = ResidualUNet(config).encoder.model.conv1.weight
    grey = torch.rand(1, 1, 8, 8)
    with torch.no_grad():
        ours = torch.nn.functional.conv2d(grey.expand(1, in_channels, 8, 8), weight)
        expected = torch.nn.functional.conv2d(
            grey.expand(1, len(repeated), 8, 8), network.conv1.weight[:, repeated]
        )
    torch.testing.assert_close(ours, expected * 3 / len(repeated))


def test_names_with_dots_match_the_flat_names_of_timms_feature_extractors(tmp_path):
    file = tmp_path / "convnext.safetensors"
    whole = timm.create_model("convnext_atto")
    safetensors.torch.save_file(whole.state_dict(), file)
    encoder = ResidualUNet(replace(config_of("tu-convnext_atto"), weights=str(file))).encoder
    torch.testing.assert_close(encoder.model.model.stem_0.weight, whole.stem[0].weight)


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        ("smp:resnt34", "no encoder is called 'smp:resnt34'; did you mean smp:resnet34"),
        ("tu-resnet1800", "no encoder is called 'tu-resnet1800'; did you mean tu-resnet18"),
        ("tu-resnet18.best", "did you mean tu-resnet18.tv_in1k"),
        ("tu-vit_tiny_patch16_224", "cannot be an encoder of a U-Net: Unsupported"),
    ],
)
def test_a_wrong_name_is_told_with_the_nearest(encoder, words):
    with pytest.raises(ConfigError, match=words):
        config_of(encoder)


def test_a_file_of_another_encoder_is_refused(classifier):
    _, file = classifier
    with pytest.raises(ConfigError, match=r"does not hold the weights of smp:resnet34: .*missing"):
        ResidualUNet(replace(config_of("smp:resnet34"), weights=str(file)))


def test_a_file_that_is_no_safetensors_is_refused(tmp_path):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"pickled?")
    with pytest.raises(ConfigError, match="must be a safetensors file"):
        ResidualUNet(replace(config_of("smp:resnet18"), weights=str(file)))


def test_weights_that_are_not_finite_are_refused(classifier, tmp_path):
    network, _ = classifier
    damaged = {name: value.clone() for name, value in network.state_dict().items()}
    damaged["layer1.0.conv1.weight"][0, 0, 0, 0] = float("nan")
    safetensors.torch.save_file(damaged, tmp_path / "damaged.safetensors")
    with pytest.raises(ConfigError, match=r"layer1\.0\.conv1\.weight holds values .* not finite"):
        ResidualUNet(
            replace(config_of("smp:resnet18"), weights=str(tmp_path / "damaged.safetensors"))
        )


@pytest.mark.parametrize("wrapper", ["module.", "backbone.", "model.encoder."])
def test_an_encoder_may_be_stored_as_a_part_of_another_module(wrapper, classifier, tmp_path):
    network, _ = classifier
    file = tmp_path / "wrapped.safetensors"
    stored = {wrapper + name: value for name, value in network.state_dict().items()}
    safetensors.torch.save_file(stored, file)
    encoder = ResidualUNet(replace(config_of("smp:resnet18"), weights=str(file))).encoder
    torch.testing.assert_close(encoder.model.conv1.weight, network.conv1.weight)


def test_pickled_weights_are_told_how_to_become_safetensors():
    with pytest.raises(ConfigError, match=r"best\.pth is no \.safetensors file.*weights_only=True"):
        ResidualUNet(replace(config_of("smp:resnet18"), weights="best.pth"))


def test_behind_a_proxy_it_is_the_proxy_that_must_answer(monkeypatch):
    asked = []
    monkeypatch.setenv("https_proxy", "http://proxy.hospital:3128")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)

    def connect(address, timeout):
        asked.append(address)
        raise OSError("nobody there")

    monkeypatch.setattr("socket.create_connection", connect)
    with pytest.raises(ConfigError, match="neither on the hub within reach nor in its cache"):
        ResidualUNet(replace(config_of("smp:resnet18"), weights="imagenet"))
    assert asked == [("proxy.hospital", 3128)]


def test_weights_that_the_hub_does_not_have_are_told_with_those_it_has():
    with pytest.raises(ConfigError, match="no weights called 'imagnet'; known are imagenet, ssl"):
        ResidualUNet(replace(config_of("smp:resnet18"), weights="imagnet"))


def test_a_hub_out_of_reach_is_one_sentence(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"give the path of a \.safetensors file"):
        ResidualUNet(replace(config_of("smp:resnet18"), weights="imagenet"))


def test_a_plan_that_divides_by_another_number_is_refused():
    with pytest.raises(ConfigError, match=r"divides an image by \(32, 32\), .* by \(2, 2\)"):
        preset(
            "smp:resnet18",
            spatial_dims=2,
            in_channels=1,
            num_classes=2,
            strides=[(1, 1), (2, 2)],
        )


def test_a_foreign_encoder_is_for_2d():
    with pytest.raises(ConfigError, match="smp:resnet18 is an encoder for 2D, got spatial_dims=3"):
        preset("smp:resnet18", spatial_dims=3, in_channels=1, num_classes=2)
