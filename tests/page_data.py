"""What pages take for granted: ``python -m tests.page_data KIND FOLDER`` draws it.

``cells``: PNG images with masks, and new ones without; ``ct``: volumes as NIfTI with masks;
``dicom``: a series of a patient. Packages of networks that were never trained, with images for
them: ``nuclei`` in 2D, ``liver`` in 3D, ``brain`` in 3D with two channels. ``stacked`` puts the
channels of an image together, ``foreign`` makes models of other software.
"""

import sys
from pathlib import Path

import numpy as np
from pydicom.uid import generate_uid

from data.phantom import draw
from seg.images import Image, read_image, read_mask, write_image
from seg.model_package import read_card, write_card
from tests.packages import write_package
from tests.seg.images.dicom.files import series_of, write_series

SIZE = (12, 64, 64)
SPACING = (3.0, 1.0, 1.0)


def drawn(folder, dims, size, seed):
    """Pairs of the first channel, from 0 to 1, and its labels."""
    place = draw(folder / f".drawn-{seed}", dims=dims, cases=12, size=size, seed=seed)
    for mask in sorted(place.glob("labels*/*")):
        stem = mask.name.partition(".")[0]
        (image,) = place.glob(f"images*/{stem}_0000.*")
        array = read_image(image).array.astype(np.float32)
        labels = read_mask(mask).array.astype(np.uint8)
        yield (array - array.min()) / np.ptp(array), labels


def cells(folder):
    for number, (array, labels) in enumerate(drawn(folder, 2, (128, 128), 1)):
        split = "new" if number >= 10 else "cells/images"
        for place in (split, "cells/masks"):
            (folder / place).mkdir(parents=True, exist_ok=True)
        image = Image((255 * array).astype(np.uint8))
        write_png(folder / split / f"well{number:02}.png", image.array[0])
        if split != "new":
            write_png(folder / "cells" / "masks" / f"well{number:02}.png", labels)


def write_png(file, array):
    from PIL import Image as Picture

    Picture.fromarray(array).save(file)


def ct(folder):
    for number, (array, labels) in enumerate(drawn(folder, 3, SIZE, 2)):
        place = "new" if number >= 10 else "liver/images"
        for each in (place, "liver/masks"):
            (folder / each).mkdir(parents=True, exist_ok=True)
        name = f"p{number:02}.nii.gz"
        affine = np.diag((*SPACING[::-1], 1.0))
        write_image(folder / place / name, Image(hounsfield(array), SPACING, affine))
        if place != "new":
            mask = Image(labels[np.newaxis], SPACING, affine)
            write_image(folder / "liver" / "masks" / name, mask)


def hounsfield(array):
    return (1200 * array - 1000).astype(np.int16)


def dicom(folder):
    array, _ = next(iter(drawn(folder, 3, SIZE, 3)))
    slices = series_of(
        (255 * array[0]).astype(np.int16),
        np.diag((*SPACING[::-1], 1.0)),
        FrameOfReferenceUID=generate_uid(),
        PatientID="7",
        PatientName="Phantom",
        RescaleSlope=1,
        RescaleIntercept=0,
    )
    write_series(folder / "series", slices)


def package(folder, name, patch, channels=1):
    target = folder / "runs" / name / "package"
    target.parent.mkdir(parents=True)
    card = read_card(write_package(target, patch=patch, channels=channels))
    write_card(target, card.model_copy(update={"name": name}))


def nuclei(folder):
    package(folder, "nuclei", (32, 32))
    pixels = [(255 * array[0]).astype(np.uint8) for array, _ in drawn(folder, 2, (96, 96), 4)]
    (folder / "new").mkdir()
    for name, array in zip(("cell", "a", "b", "new/c", "new/d"), pixels, strict=False):
        write_png(folder / f"{name}.png", array)
    for name in ("scan.tif", "stack.tif"):
        write_image(folder / name, Image(pixels[0][np.newaxis]))


def volumes(folder, channels):
    pairs = list(drawn(folder, 3, SIZE, 5))
    affine = np.diag((*SPACING[::-1], 1.0))
    arrays = [(255 * array[0]).astype(np.uint8) for array, _ in pairs]
    scan = Image(np.stack([arrays[0]] * channels), SPACING, affine)
    write_image(folder / "scan.nii.gz", scan)
    (folder / "scans").mkdir()
    for name in ("t1.nii.gz", "flair.nii.gz", "scans/p1.nii.gz", "scans/p2.nii.gz"):
        write_image(folder / name, Image(arrays[1][np.newaxis], SPACING, affine))


def liver(folder):
    package(folder, "liver", (8, 32, 32))
    volumes(folder, 1)


def brain(folder):
    package(folder, "brain", (8, 32, 32), channels=2)
    volumes(folder, 2)


def stacked(folder):
    """The channels of an image in nnU-Net's raw format as one file, ``scan.tif``."""
    first = min(folder.glob("*_0000.*"))
    files = sorted(folder.glob(first.name.replace("_0000", "_*")))
    write_image(Path("scan.tif"), Image(np.concatenate([read_image(f).array for f in files])))


def foreign(folder):
    """Models of other software."""
    import segmentation_models_pytorch as smp
    import yaml
    from safetensors.torch import save_file

    from tests.training.adopt.test_monai_bundle import bundle
    from tests.training.adopt.test_onnx_file import DESCRIPTION, exported

    (folder / "BUNDLE").mkdir()
    bundle(folder / "BUNDLE")
    network = smp.create_model("unet", "resnet34", encoder_weights=None, classes=2)
    save_file(network.state_dict(), folder / "weights.safetensors")
    exported(folder).rename(folder / "network.onnx")
    (folder / "spec.yaml").write_text(yaml.safe_dump(DESCRIPTION), encoding="utf-8")


KINDS = (cells, ct, dicom, nuclei, liver, brain, stacked, foreign)

if __name__ == "__main__":
    kind, where = sys.argv[1:]
    {each.__name__: each for each in KINDS}[kind](Path(where))
