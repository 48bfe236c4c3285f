"""One image through a network of seg with nnU-Net's sliding window, for benchmarks/inference.py.

Runs in the environment of nnU-Net, from the repository's root, without mirroring:
python benchmarks/inference.py --nnunet PYTHON
"""

import argparse
import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("nnUNet_raw", os.devnull)
os.environ.setdefault("nnUNet_preprocessed", os.devnull)
os.environ.setdefault("nnUNet_results", os.devnull)
sys.path.insert(0, str(Path(__file__).parents[3]))

import nibabel
import numpy as np
import tifffile
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from benchmarks.result import peak_mib
from seg.networks import ResidualUNet, preset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--preset", required=True)
    add("--weights", type=Path, required=True)
    add("--image", type=Path, required=True, help="TIFF or NIfTI")
    add("--out", type=Path, required=True)
    add("--threads", type=int, required=True)
    add("--patch", type=lambda text: tuple(map(int, text.split(","))), required=True)
    add("--channels", type=int, required=True)
    add("--classes", type=int, required=True)
    add("--bfloat16", action="store_true", help="as fast as torch goes on a CPU")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    predictor = prepared(options)
    start, cpu = time.perf_counter(), time.process_time()
    with torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
        run(predictor, options.image, options.out)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mib": peak_mib()}))


def prepared(options: argparse.Namespace) -> nnUNetPredictor:
    """A predictor with what its sliding window looks at."""
    network = ResidualUNet(
        preset(
            options.preset,
            spatial_dims=len(options.patch),
            in_channels=options.channels,
            num_classes=options.classes,
        )
    )
    network.load_state_dict(torch.load(options.weights, weights_only=True))
    with contextlib.redirect_stdout(io.StringIO()):
        predictor = nnUNetPredictor(
            use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False
        )
    if options.bfloat16:
        flat = len(options.patch) == 2
        layout = torch.channels_last if flat else torch.channels_last_3d
        network = network.to(memory_format=layout)
    predictor.network = network.eval()
    predictor.configuration_manager = SimpleNamespace(patch_size=list(options.patch))
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=options.classes)
    return predictor


def run(predictor: nnUNetPredictor, image: Path, out: Path) -> None:
    if image.suffix == ".tif":  # nnU-Net sees a picture as a volume of one slice
        array = tifffile.imread(image)[None]
    else:
        array = np.asarray(nibabel.load(image).dataobj).T
    data = torch.from_numpy(array[None] / np.float32(255))
    logits = predictor.predict_sliding_window_return_logits(data)
    labels = logits.argmax(0).to(torch.uint8).numpy()
    if image.suffix == ".tif":
        tifffile.imwrite(out, labels[0], compression="zlib")
    else:
        nibabel.save(nibabel.Nifti1Image(labels.T, np.eye(4)), out)


if __name__ == "__main__":
    main()
