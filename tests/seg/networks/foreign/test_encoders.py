from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from huggingface_hub import close_session

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
        ("tu-vit_tiny_patch16_224", "gives features at strides 16, 16, 16, where a U-Net needs"),
        ("tu-shvit_s1", "strides 16, 32, 64, .* choose a convolutional encoder of strides 2 to 32"),
        ("tu-nest_tiny", r"not built by segmentation-models-pytorch \(list index out of range\)"),
        ("tu-botnet26t_256", r"any size \(AssertionError\); choose a convolutional"),
    ],
)
def test_a_wrong_name_is_told_with_the_nearest(encoder, words):
    with pytest.raises(ConfigError, match=words):
        config_of(encoder)


def test_a_file_of_another_encoder_is_refused(classifier):
    _, file = classifier
    with pytest.raises(ConfigError, match=r"does not hold the weights of smp:resnet34: .*missing"):
        ResidualUNet(replace(config_of("smp:resnet34"), weights=str(file)))


def test_pickled_weights_are_told_how_to_become_safetensors():
    with pytest.raises(ConfigError, match=r"best\.pth is no \.safetensors file.*weights_only=True"):
        ResidualUNet(replace(config_of("smp:resnet18"), weights="best.pth"))


@pytest.fixture
def own_client(monkeypatch):
    """The hub's library keeps one client, which read the environment when it was made."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    close_session()
    yield
    close_session()


@pytest.fixture
def broken_server():
    """Answers whatever is asked by an error of its own; tells what that was."""
    asked = []

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append(self.requestline)
            self.send_error(503)

        def do_CONNECT(self):
            self.do_HEAD()

        def log_message(self, *_):
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_behind_a_proxy_it_is_the_proxy_that_must_answer(own_client, broken_server, monkeypatch):
    address, asked = broken_server
    monkeypatch.setenv("https_proxy", address)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://hub.test")
    with pytest.raises(ConfigError, match="neither on the hub within reach nor in its cache"):
        ResidualUNet(replace(config_of("smp:resnet18"), weights="imagenet"))
    assert asked == ["CONNECT hub.test:443 HTTP/1.1"]


def test_a_hub_that_is_out_of_order_is_asked_once(own_client, broken_server, monkeypatch):
    address, asked = broken_server
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    with pytest.raises(ConfigError, match="neither on the hub within reach nor in its cache"):
        ResidualUNet(replace(config_of("smp:resnet18"), weights="imagenet"))
    assert asked == ["HEAD / HTTP/1.1"]


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
