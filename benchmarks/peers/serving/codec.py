"""What both peers share: pixels in, pixels out, with the codecs and settings of the product."""

import io
import os
import zlib

import numpy as np
import onnxruntime as ort
import PIL.Image

PALETTE = bytes(range(9))


def decode(body: bytes) -> np.ndarray:
    """A grey PNG as a batch of one patch, in [0, 1]."""
    pixels = np.asarray(PIL.Image.open(io.BytesIO(body)))
    return (pixels[None, None] / np.float32(255)).astype(np.float32)


def encode(logits: np.ndarray) -> bytes:
    """The likeliest class of each pixel as a palette PNG."""
    picture = PIL.Image.fromarray(logits.argmax(axis=0).astype(np.uint8))
    picture.putpalette(PALETTE)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def session(threads: int | None) -> ort.InferenceSession:
    """The network; threads a run, None leaves it to onnxruntime."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if threads:
        options.intra_op_num_threads = options.inter_op_num_threads = threads
    return ort.InferenceSession(os.environ["NETWORK"], options, providers=["CPUExecutionProvider"])
