"""Which files make one image: the script of the page, run by the Node that Playwright brings."""

import base64
import io
import json
import subprocess

import numpy as np
import PIL.Image
import pytest
import tifffile
from playwright._impl._driver import compute_driver_executable

from tests.service.conftest import ROOT

SCRIPT = """
const { imagesOf } = await import(process.argv[1]);
const { files, channels } = JSON.parse(await new Response(process.stdin).text());
const made = files.map(([name, text]) => new File([Buffer.from(text, "base64")], name));
const groups = await imagesOf(made, { channels, flat: true });
console.log(JSON.stringify(groups.map((group) => group.map(({ name }) => name))));
"""
GREY = np.zeros((9, 7), np.uint8)


def grouped(files: dict[str, bytes], channels: int) -> list[list[str]]:
    node = str(compute_driver_executable()[0])
    sent = [[name, base64.b64encode(content).decode()] for name, content in files.items()]
    given = json.dumps({"files": sent, "channels": channels})
    module = (ROOT / "service/page/static/images/intake.js").as_uri()
    command = [node, "--input-type=module", "--eval", SCRIPT, module]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


def picture(kind: str, channels: int) -> bytes:
    buffer = io.BytesIO()
    if kind == "TIFF":
        planes = np.stack([GREY] * channels, axis=-1)
        tifffile.imwrite(buffer, planes, photometric="rgb" if channels == 3 else None)
    elif kind == "pages":
        tifffile.imwrite(buffer, np.stack([GREY] * channels), photometric="minisblack")
    else:
        PIL.Image.fromarray(np.dstack([GREY] * channels) if channels > 1 else GREY).save(
            buffer, kind
        )
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "TIFF", "pages"])
def test_pictures_that_have_all_channels_are_an_image_each(kind):
    files = {name: picture(kind, 3) for name in ("b", "a", "c")}
    assert grouped(files, 3) == [["b"], ["a"], ["c"]]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_files_of_one_channel_are_one_image_in_the_order_of_their_names(kind):
    files = {name: picture(kind, 1) for name in ("c10", "c2", "c1")}
    assert grouped(files, 3) == [["c1", "c2", "c10"]]


@pytest.mark.parametrize(
    ("names", "images"),
    [
        (["b_0001.png", "a_0000.png", "b_0000.png", "a_0001.png"], 2),
        (["a.b_0000.nii.gz", "a.b_0001.nii.gz", "c_0000.nii.gz", "c_0001.nii.gz"], 2),
        (["a_0000.png", "a_0001.png", "b_0000.png"], 1),
        (["a_0001.png", "a_0002.png", "b_0001.png", "b_0002.png"], 1),
        (["a1.png", "a2.png", "b1.png", "b2.png"], 1),  # nobody knows which are of one image
    ],
)
def test_files_whose_names_number_their_channels_are_several_images(names, images):
    groups = grouped(dict.fromkeys(names, picture("PNG", 1)), 2)
    assert len(groups) == images
    assert [name for group in groups for name in group] == sorted(names)


def test_what_cannot_be_told_is_one_image_and_one_channel_an_image_each():
    files = {"b.nii.gz": b"\x1f\x8b", "a.tif": b"II*\0\xff\xff\xff\x7f"}
    assert grouped(files, 2) == [["a.tif", "b.nii.gz"]]
    assert grouped(files, 1) == [["b.nii.gz"], ["a.tif"]]
