"""Whoever holds one key attacks by every route that it opens: memory, /livez, recovery."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import nibabel
import numpy as np

from benchmarks import servers
from benchmarks.drills.attacked import SETTINGS, SMALL, suffered
from benchmarks.drills.attacks import deflated, nested_elements, zeros_in_zip
from benchmarks.drills.drill import Drill
from benchmarks.servers import Server
from service.middleware.key_file import new_key, write_keys

SCOPES = ("segment", "jobs", "annotate", "train", "admin")
SIDES = (8192, 3600)
"""Of a picture of zeros: 29 MB in 29 kB."""
CONFIG = (
    '<View><Image name="i" value="$image"/><BrushLabels name="l" toName="i">'
    '<Label value="class 1"/></BrushLabels></View>'
)


def key_holder(drill: Drill) -> None:
    """Each attack for some seconds, by four clients at once who share a key."""
    home = drill.folder
    models = home / "models"
    models.mkdir()
    drill.package().rename(models / "small")
    key, token = new_key("holder", SCOPES, None, expires=None)
    write_keys(home / "keys.json", (key,))
    grpc_port = servers.free_port()
    settings = {
        **SETTINGS,
        **drill.jobs(),
        "SEG_PACKAGE": "",
        "SEG_MODELS": str(models),
        "SEG_STUDIO": str(home / "studio"),
        "SEG_SESSIONS": str(home / "sessions"),
        "SEG_KEYS": "required",
        "SEG_KEYS_FILE": str(home / "keys.json"),
        "SEG_FRONTENDS": "monailabel,oip,oip-grpc,dicomweb,label-studio",
        "SEG_GRPC_PORT": str(grpc_port),
        "SEG_TRAIN_MINUTES": "1",
    }
    with servers.seg(Path(), **settings) as server:
        headers = {"Authorization": f"Bearer {token}"}
        attack = _Attacks(server, headers, grpc_port)
        for _ in range(20):
            attack.asked("POST", "/segment", content=SMALL)
        for name, each in attack.all().items():
            suffered(drill, server, name, each, headers)


class _Attacks:
    def __init__(self, server: Server, headers: dict[str, str], grpc_port: int) -> None:
        self._base = f"http://127.0.0.1:{server.port}"
        self._headers, self._grpc = headers, grpc_port
        self._numbers = count()

    def asked(self, method: str, path: str, **more: Any) -> str:
        headers = {**self._headers, **more.pop("headers", {})}
        answer = httpx.request(method, self._base + path, headers=headers, timeout=30, **more)
        return str(answer.status_code)

    def all(self) -> dict[str, Callable[[], str]]:
        large = _zeros(SIDES)
        picture = {"file": ("x.nii.gz", large)}
        self.asked("PUT", "/studio/dataset", json={"classes": [{"name": "class 1"}]})
        self.asked("PUT", "/studio/images/large", files=picture)
        label = gzip.compress(bytes(2 * SIDES[0] * SIDES[1]), 9)
        packed, nested, package = zeros_in_zip(512), nested_elements(16), _package(4000)
        series = _related(deflated(512 << 20))
        on_none = {"If-Match": '"0"'}
        marks = {"label": ("x.bin.gz", label), "seeds": ("x.bin.gz", label)}
        return {
            "nobody": lambda: self.asked("GET", "/models"),
            "2 million tasks for Label Studio": self._json(
                "/label-studio/predict", f'{{"label_config": {json.dumps(CONFIG)}, "tasks": [',
                "{},", 2_000_000, "{}]}",
            ),
            "5 million lists for its webhook": self._json(
                "/label-studio/webhook", '{"action": "ANNOTATION_CREATED", "annotation": {"id": 1, '
                '"result": [', "[],", 5_000_000, "[]]}}",
            ),
            "a million numbers for it": self._json(
                "/label-studio/webhook", '{"action": "ANNOTATION_CREATED", "annotation": {"id": 1, '
                '"result": [', "1.25,", 990_000, "1]}}",
            ),
            "labels within labels": self._json(
                "/label-studio/setup", '{"schema": "<View>',
                "<BrushLabels>", 1000, '<Label/>' * 3000 + "</BrushLabels>" * 1000 + '</View>"}',
            ),
            "slices of the studio": lambda: self.asked("GET", "/studio/images/large/slice"),
            "label maps of the studio": lambda: self.asked(
                "PUT", "/studio/images/large/label",
                files={"label": ("x.bin.gz", label)}, headers=on_none,
            ),
            "masks for it": lambda: self.asked(
                "PUT", "/studio/images/large/label",
                files={"label": ("x.nii.gz", large)}, headers=on_none,
            ),
            "repairs": lambda: self.asked("POST", "/studio/images/large/repair", files=marks),
            "suggestions": lambda: self.asked("POST", "/studio/images/large/suggestion"),
            "which is next": lambda: self.asked("GET", "/studio/next"),
            "masks for MONAI Label": lambda: self.asked(
                "PUT", "/datastore/label?image=large", files={"label": ("x.nii.gz", large)}
            ),
            "512 MiB in a mask for MONAI Label": lambda: self.asked(
                "PUT", "/datastore/label?image=large",
                files={"label": ("x.zip", packed)},
            ),
            "the whole datastore": lambda: self.asked("GET", "/datastore/?output=all"),
            "sessions": lambda: self.asked(
                "PUT", "/session/", files={"files": ("x.nii.gz", bytes(5_000_000))}
            ),
            "an answer in each form": lambda: self.asked("POST", "/infer/small", files=picture),
            "16 MB of tensors over gRPC": self._called(b"\x2a\x00" * 8_000_000),
            "95 MB over gRPC": self._called(_raw(95_000_000)),
            "30 MB over gRPC": self._called(_raw(30_000_000)),
            "18 MB over gRPC": self._called(_raw(18_000_000)),
            "512 MiB as a series": lambda: self.asked(
                "POST", "/dicom-web/studies", content=series,
                headers={"Content-Type": 'multipart/related; type="application/dicom"; boundary=X'},
            ),
            "elements within elements as jobs": lambda: self.asked(
                "POST", "/jobs", content=nested
            ),
            "jobs of 50 MB": lambda: self.asked("POST", "/jobs", content=bytes(50_000_000)),
            "a package that unpacks to much": lambda: self.asked(
                "PUT", "/models/other", content=package
            ),
            "packages that are none": lambda: self.asked(
                "PUT", "/models/other", content=b"PK\3\4" + bytes(1_000_000)
            ),
            "trainings": lambda: self.asked("POST", "/studio/train", content=b"{}"),
            "images for the studio": self._image,
        }  # fmt: skip

    def _json(self, path: str, begin: str, each: str, times: int, end: str) -> Callable[[], str]:
        body = (begin + each * times + end).encode()
        return lambda: self.asked("POST", path, content=body)

    def _image(self) -> str:
        name = f"/studio/images/i{next(self._numbers)}"
        return self.asked("PUT", name, files={"file": ("x.png", SMALL)})

    def _called(self, fields: bytes) -> Callable[[], str]:
        import grpc

        message = b"\x0a\x05small" + fields
        metadata = [(name.lower(), value) for name, value in self._headers.items()]
        options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]

        def call() -> str:
            with grpc.insecure_channel(f"127.0.0.1:{self._grpc}", options=options) as channel:
                method = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
                try:
                    method(message, timeout=20, metadata=metadata)
                except grpc.RpcError as error:
                    return str(error.code().name)
                return "OK"

        return call


def _raw(size: int) -> bytes:
    """``raw_input_contents`` of a message: its field, its length, its bytes."""
    length, left = b"", size
    while left > 127:
        length, left = length + bytes([left & 127 | 128]), left >> 7
    return b"\x3a" + length + bytes([left]) + bytes(size)


def _zeros(sides: tuple[int, int]) -> bytes:
    image = nibabel.Nifti1Image(np.zeros(sides, np.uint8), np.eye(4))
    return gzip.compress(image.to_bytes(), 9)


def _related(part: bytes) -> bytes:
    return b"--X\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n--X--\r\n"


def _package(mebibytes: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("model.json", "{}")
        with archive.open("network.onnx", "w", force_zip64=True) as file:
            for _ in range(mebibytes):
                file.write(bytes(1 << 20))
    return buffer.getvalue()
