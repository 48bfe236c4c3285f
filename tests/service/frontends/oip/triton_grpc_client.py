"""Asks a service over gRPC as users of Triton do; runs where tritonclient is, not beside seg.

Reads a JSON object from standard input, ``{"address", "image", "patches", "key", "ca"}`` with
paths, and writes what it got as JSON; arrays go into the file ``arrays``.
"""

import json
import sys
from pathlib import Path

import numpy as np
from tritonclient import grpc
from tritonclient.utils import InferenceServerException


def main() -> None:
    told = json.load(sys.stdin)
    tls = {"ssl": True, "root_certificates": told["ca"]} if told["ca"] else {}
    client = grpc.InferenceServerClient(told["address"], **tls)
    headers = {"authorization": f"Bearer {told['key']}"}
    name, found = told["model"], {}
    found["live"], found["ready"] = client.is_server_live(), client.is_server_ready()

    def refused(ask):
        try:
            ask()
        except InferenceServerException as error:
            return [error.status(), error.message()]
        return None

    found["without key"] = refused(lambda: client.get_model_metadata(name))
    found["server"] = client.get_server_metadata(headers=headers, as_json=True)
    found["model ready"] = client.is_model_ready(name, headers=headers)
    for model in (name, f"{name}.patches"):
        found[model] = client.get_model_metadata(model, headers=headers, as_json=True)

    content = np.array([Path(told["image"]).read_bytes()], object)
    image = grpc.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(content)
    arrays = {}
    for packing in (None, "gzip", "deflate"):
        result = client.infer(
            name, [image], headers=headers, request_id="7", compression_algorithm=packing
        )
        arrays[str(packing)] = result.as_numpy("mask")
    answer = result.get_response(as_json=True)
    found["answer"] = {key: answer[key] for key in ("id", "model_name", "model_version")}
    found["quality"] = json.loads(result.get_response().parameters["quality"].string_param)
    found["classes"] = [each.decode() for each in result.as_numpy("classes")]
    wanted = [grpc.InferRequestedOutput("mask")]
    options = {"classes": "nucleus", "mirror": False, "deadline_ms": 60000}
    result = client.infer(name, [image], outputs=wanted, headers=headers, parameters=options)
    arrays["nuclei"] = result.as_numpy("mask")
    found["only"] = [each.name for each in result.get_response().outputs]
    result = client.infer(name, [image], headers=headers, parameters={"threshold": 0.999})
    arrays["threshold"] = result.as_numpy("mask")

    prepared = np.load(told["patches"])
    patches = grpc.InferInput("patches", prepared.shape, "FP32")
    patches.set_data_from_numpy(prepared)
    result = client.infer(f"{name}.patches", [patches], headers=headers, model_version="1")
    arrays["logits"] = result.as_numpy("logits")
    np.savez(told["arrays"], **arrays)

    def refusal(tensors, model=name, **options):
        return refused(lambda: client.infer(model, tensors, headers=headers, **options))

    text = grpc.InferInput("image", [1], "BYTES")
    text.set_data_from_numpy(np.array([b"no image"], object))
    wide = grpc.InferInput("patches", [1, 1, 8, 8], "FP32")
    wide.set_data_from_numpy(np.zeros((1, 1, 8, 8), np.float32))
    half = grpc.InferInput("patches", [1, 1, 32, 32], "FP16")
    half.set_data_from_numpy(np.zeros((1, 1, 32, 32), np.float16))
    large = grpc.InferInput("image", [1], "BYTES")
    large.set_data_from_numpy(np.array([bytes(3_000_000)], object))
    huge = grpc.InferInput("image", [1], "BYTES")
    huge.set_data_from_numpy(np.array([bytes(20_000_000)], object))
    found["refusals"] = {
        "no image": refusal([text]),
        "no model": refusal([image], "none"),
        "no version": refusal([image], model_version="77"),
        "shape": refusal([wide], f"{name}.patches"),
        "half": refusal([half], f"{name}.patches"),
        "two": refusal([image, image]),
        "parameter": refusal([image], parameters={"treshold": 0.5}),
        "output": refusal([image], outputs=[grpc.InferRequestedOutput("logits")]),
        "classification": refusal([image], outputs=[grpc.InferRequestedOutput("mask", 3)]),
        "large": refusal([large]),
        "bomb": refusal([huge], compression_algorithm="gzip"),
        "late": refusal([image], client_timeout=1e-4),
        "index": refused(lambda: client.get_model_repository_index(headers=headers)),
    }
    found["live still"] = client.is_server_live()
    json.dump(found, sys.stdout)


main()
