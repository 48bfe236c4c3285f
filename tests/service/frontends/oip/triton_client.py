"""Asks a service as users of Triton do; runs where tritonclient is, which is not beside seg.

Reads a JSON object from standard input, ``{"address", "image", "patches", "key"}`` with paths, and
writes what it got as JSON: arrays are written beside the image, as ``.npy``.
"""

import json
import sys
from pathlib import Path

import numpy as np
from tritonclient import http
from tritonclient.utils import InferenceServerException


def main() -> None:
    told = json.load(sys.stdin)
    client = http.InferenceServerClient(told["address"])
    headers = {"Authorization": f"Bearer {told['key']}"}  # the client adds to what it is given
    name, found = told["model"], {}
    found["live"], found["ready"] = client.is_server_live(), client.is_server_ready()
    try:
        client.get_model_metadata(name)
    except InferenceServerException as error:
        found["without key"] = [error.status(), error.message()]
    found["server"] = client.get_server_metadata(headers=dict(headers))
    found["model ready"] = client.is_model_ready(name, headers=dict(headers))
    found["no model ready"] = client.is_model_ready("none", headers=dict(headers))
    for model in (name, f"{name}.patches"):
        found[model] = client.get_model_metadata(model, headers=dict(headers))

    content = np.array([Path(told["image"]).read_bytes()], object)
    image = http.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(content)
    masks = {}
    for packing in (None, "gzip", "deflate"):
        result = client.infer(
            name,
            [image],
            headers=dict(headers),
            request_id="7",
            request_compression_algorithm=packing,
            response_compression_algorithm=packing,
        )
        masks[str(packing)] = result.as_numpy("mask")
    found["answer"] = result.get_response()
    found["spacing"] = result.as_numpy("spacing").tolist()
    found["classes"] = [each.decode() for each in result.as_numpy("classes")]
    listed = http.InferRequestedOutput("mask", binary_data=False)
    result = client.infer(name, [image], outputs=[listed], headers=dict(headers))
    masks["listed"] = result.as_numpy("mask")
    found["only"] = [each["name"] for each in result.get_response()["outputs"]]
    result = client.infer(name, [image], headers=dict(headers), parameters={"classes": "nucleus"})
    masks["nuclei"] = result.as_numpy("mask")
    np.savez(told["masks"], **masks)

    prepared = np.load(told["patches"])
    logits = {}
    for form, binary in (("binary", True), ("listed", False)):
        patches = http.InferInput("patches", prepared.shape, "FP32")
        patches.set_data_from_numpy(prepared, binary_data=binary)
        wanted = http.InferRequestedOutput("logits", binary_data=binary)
        result = client.infer(
            f"{name}.patches", [patches], outputs=[wanted], headers=dict(headers), model_version="1"
        )
        logits[form] = result.as_numpy("logits")
    np.savez(told["logits"], **logits)

    def refusal(tensor, model=name, **options):
        try:
            client.infer(model, [tensor], headers=dict(headers), **options)
        except InferenceServerException as error:
            return [error.status(), error.message()]
        return None

    text = http.InferInput("image", [1], "BYTES")
    text.set_data_from_numpy(np.array([b"no image"], object))
    wide = http.InferInput("patches", [1, 1, 8, 8], "FP32")
    wide.set_data_from_numpy(np.zeros((1, 1, 8, 8), np.float32))
    large = http.InferInput("image", [1], "BYTES")
    large.set_data_from_numpy(np.array([bytes(3_000_000)], object))
    found["refusals"] = {
        "no image": refusal(text),
        "no model": refusal(image, "none"),
        "shape": refusal(wide, f"{name}.patches"),
        "parameter": refusal(image, parameters={"treshold": 0.5}),
        "output": refusal(image, outputs=[http.InferRequestedOutput("logits")]),
        "large": refusal(large),
        "large once unpacked": refusal(large, request_compression_algorithm="gzip"),
    }
    json.dump(found, sys.stdout)


main()
