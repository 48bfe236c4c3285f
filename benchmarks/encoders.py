"""Which foreign encoders and networks can be built, trained, exported and served: each is tried.

Each is built with random weights, takes one training step on patches of a few pixels, is exported
to ONNX and compared with it in onnxruntime, a patch alone and two together. One that cannot is a
row with the reason.

Usage: python benchmarks/encoders.py [NAME ...] [--json FILE] [--work DIR] [--seconds S]
With --work every row is a file there and not tried again, so that S seconds at a time will do.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.result import bar, report
from seg.model_package import GoldenSamples
from seg.networks import make_network, network_config, parameter_count
from seg.networks.network import SegmentationNetwork
from training.onnx_files.proof import proven, reference_logits
from training.onnx_files.write import write_onnx

EDGE = {2: 64, 3: 32}
"""Of a patch, by number of dimensions; more where a network's multiple is larger."""
CHANNELS, CLASSES = 2, 3
SMP = (
    *("resnet18", "resnext50_32x4d", "se_resnet50", "timm-skresnet18", "densenet121", "dpn68"),
    *("vgg11_bn", "xception", "inceptionv4", "inceptionresnetv2", "mobilenet_v2", "mobileone_s0"),
    *("efficientnet-b0", "timm-efficientnet-b0", "timm-tf_efficientnet_lite0", "mit_b0"),
)
TIMM = (
    *("resnet10t", "resnest14d", "res2net50_26w_4s", "cspresnet50", "darknet53", "dla34"),
    *("hrnet_w18_small", "regnety_002", "repvgg_a0", "selecsls42", "hgnetv2_b0", "rexnet_100"),
    *("mobilenetv3_small_050", "mobilenetv4_conv_small", "ghostnet_050", "lcnet_050"),
    *("mnasnet_small", "tf_efficientnetv2_b0", "starnet_s1", "convnext_atto", "convnextv2_atto"),
    *("inception_next_atto", "mambaout_femto", "eca_nfnet_l0", "poolformer_s12", "fastvit_t8"),
    *("repvit_m0_9", "edgenext_xx_small", "mobilevit_xxs", "efficientvit_b0", "pvt_v2_b0"),
    *("efficientformerv2_s0", "swiftformer_xs", "davit_tiny", "nextvit_small", "focalnet_tiny_srf"),
    *(
        "swin_tiny_patch4_window7_224",
        "maxvit_pico_rw_256",
        "hiera_tiny_224",
        "xcit_nano_12_p8_224",
    ),
    "vit_tiny_patch16_224",
)
ARCHITECTURES = (
    *("unetplusplus", "manet", "linknet", "fpn", "pspnet", "deeplabv3", "deeplabv3plus", "pan"),
    *("upernet", "segformer", "dpt"),
)
TRIED: tuple[tuple[str, int], ...] = (
    *((f"smp:unet/{encoder}", 2) for encoder in SMP),
    *((f"smp:unet/tu-{encoder}", 2) for encoder in TIMM),
    *((f"smp:{each}/resnet18", 2) for each in ARCHITECTURES),
    ("smp:segformer/mit_b0", 2),
    ("smp:deeplabv3plus/tu-convnext_atto", 2),
    ("smp:fpn/tu-convnext_atto", 2),
    ("tu-resnet18", 2),
    ("tu-convnext_atto", 2),
    ("seg:resnet34+tu-convnext_atto", 2),
    ("seg:resunet-s+mobilenet_v2", 2),
    *((f"monai:{each}", dims) for each in ("segresnet", "dynunet", "swinunetr") for dims in (2, 3)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add(
        "names", nargs="*", metavar="NAME", help="of 2D networks (default: a list of many families)"
    )
    add("--json", type=Path)
    add("--work", type=Path, help="folder for rows that are finished")
    add("--seconds", type=float, default=float("inf"), help="after which none is begun")
    options = parser.parse_args()
    begun, rows = time.monotonic(), []
    for name, dims in [(name, 2) for name in options.names] or TRIED:
        if time.monotonic() - begun > options.seconds:
            print("out of time; call again to go on", flush=True)
            return
        rows.append(row := tried(name, dims, options.work))
        print(in_words(row), flush=True)
    if not options.names:
        fine = [row for row in rows if row["served"]]
        families = {family_of(row["network"]) for row in fine}
        bars = [bar("families of encoders that are served", len(families), 20, at_most=False)]
        libraries = ("torch", "timm", "segmentation-models-pytorch", "monai", "onnxruntime-gpu")
        report("encoders", rows, bars, libraries, options.json)


def tried(name: str, dims: int, work: Path | None = None) -> dict[str, Any]:
    """What became of a network, from the folder where it was tried before."""
    kept = work / (re.sub(r"[^\w+-]+", "-", f"{name}-{dims}d") + ".json") if work else None
    if kept is not None and kept.exists():
        return dict(json.loads(kept.read_text("utf-8")))
    row: dict[str, Any] = {"network": name, "dims": dims, "served": False, "reason": None}
    start = time.perf_counter()
    try:
        stepped_and_served(name, dims, row)
        row["served"] = True
    except Exception as error:  # whatever a network or its exporter raises is the reason
        row["reason"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    row["seconds"] = time.perf_counter() - start
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(row), encoding="utf-8")
    return row


def stepped_and_served(name: str, dims: int, row: dict[str, Any]) -> None:
    """Build, take a step, export and compare; the row tells how far it came."""
    torch.manual_seed(0)
    config = network_config(name, spatial_dims=dims, in_channels=CHANNELS, num_classes=CLASSES)
    network = make_network(config)
    patch = tuple(max(2, EDGE[dims] // s) * s for s in config.total_stride)  # norms want two
    row |= {"multiple": config.total_stride[-1], "parameters": parameter_count(network)}
    row["loss"] = step(network, patch)
    images = np.random.default_rng(0).standard_normal((2, CHANNELS, *patch), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "full.onnx"
        network.eval()
        write_onnx(network, images, file)
        golden = GoldenSamples(images, reference_logits(network, images))
        row["error"] = proven(file, golden, "exclusive")


def step(network: SegmentationNetwork, patch: tuple[int, ...]) -> float:
    """The loss of one training step on two patches; every weight must stay finite."""
    images = torch.randn(2, CHANNELS, *patch)
    labels = torch.randint(CLASSES, (2, *patch))
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    network.train()
    logits = network(images)
    loss = functional.cross_entropy(logits[0] if isinstance(logits, list) else logits, labels)
    loss.backward()
    optimiser.step()
    if not all(weight.isfinite().all() for weight in network.parameters()):
        raise ValueError("a weight is no longer finite after one step")
    return float(loss.detach())


def family_of(name: str) -> str:
    """Letters that an encoder's name begins with."""
    bare = re.split(r"[/+:]", name)[-1].removeprefix("tu-").removeprefix("timm-")
    letters = re.match(r"(tf_)?[a-z]+", bare)
    return letters.group(0) if letters else bare


def in_words(row: Mapping[str, Any]) -> str:
    """For the terminal."""
    found = f"error {row['error']:.1e}" if row["served"] else f"NO: {row['reason']}"
    return f"{row['network']:42} {row['dims']}D {row['seconds']:5.1f} s  {found}"


if __name__ == "__main__":
    main()
