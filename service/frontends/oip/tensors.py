"""Tensors as requests and answers hold them: as lists in JSON, or as bytes behind it."""

import io
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any, BinaryIO, Literal, cast

import numpy as np
from jaxtyping import Float32, UInt8
from pydantic import BaseModel, Field, ValidationError
from starlette.responses import Response

from service.decoding.image_decoder import Check, ImageDecoder
from service.frontends.oip.bodies import LENGTH_HEADER
from service.problems.response import Problem

Datatype = Literal["FP32", "UINT8", "BYTES"]
"""Of the tensors of our models."""
Parameters = dict[str, Any]
WIDTH = 4
"""Bytes of an FP32 number, and of the length before each element of BYTES."""
MOST_AXES, MOST_SIZE = 8, 2**31
"""Of a shape: numbers of thousands of digits, multiplied, would hold the process for minutes."""


@dataclass(frozen=True)
class TensorSpec:
    """What a model says of a tensor; -1 is a free size."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]

    def in_json(self) -> dict[str, Any]:
        """For a model's metadata."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


class GivenTensor(BaseModel):
    """An input, without its data."""

    name: str
    shape: Annotated[list[Annotated[int, Field(ge=0, le=MOST_SIZE)]], Field(max_length=MOST_AXES)]
    datatype: str
    parameters: Parameters = {}


class WantedTensor(BaseModel):
    """An output that is wanted."""

    name: str
    parameters: Parameters = {}


class InferenceCall(BaseModel):
    """A request, without its tensors' data."""

    id: str | None = None
    parameters: Parameters = {}
    inputs: list[GivenTensor] = Field(min_length=1, max_length=1)
    outputs: list[WantedTensor] = []


def call_of(document: str | dict[str, Any]) -> InferenceCall:
    """A request from its JSON, or from what that would hold.

    Raises:
        Problem: 400, it is none.
    """
    try:
        if isinstance(document, str):
            return InferenceCall.model_validate_json(document)
        return InferenceCall.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the request"
        raise Problem(400, f"{where}: {first['msg'].lower()}") from None


@dataclass(frozen=True, eq=False)
class Asked:
    """A request and the data of its one tensor."""

    call: InferenceCall
    data: Float32[np.ndarray, "..."] | list[BinaryIO]
    """Numbers, or the files that the elements of BYTES are."""


@dataclass(frozen=True, eq=False)
class AnswerTensor:
    """An output."""

    name: str
    array: Float32[np.ndarray, "..."] | UInt8[np.ndarray, "..."] | list[bytes]

    @property
    def datatype(self) -> Datatype:
        """As the protocol names it."""
        if isinstance(self.array, list):
            return "BYTES"
        return "UINT8" if self.array.dtype == np.uint8 else "FP32"

    @property
    def shape(self) -> list[int]:
        """Its sizes."""
        return [len(self.array)] if isinstance(self.array, list) else list(self.array.shape)

    def raw(self) -> bytes:
        """Row by row, little endian; before each element of BYTES its length."""
        if isinstance(self.array, list):
            return b"".join(struct.pack("<I", len(each)) + each for each in self.array)
        return self.array.astype(self.array.dtype.newbyteorder("<"), copy=False).tobytes()

    def listed(self, decoder: ImageDecoder, check: Check) -> bytes:
        """A flat list as JSON."""
        if isinstance(self.array, list):
            return json.dumps([each.decode() for each in self.array]).encode()
        return bytes(decoder.as_json(np.ascontiguousarray(self.array).ravel(), check))


Keep = Callable[[BinaryIO, int], BinaryIO]
"""Copies so many bytes into a file that lasts as long as the request."""


def asked_of(
    body: BinaryIO,
    length: int | None,
    spec: TensorSpec,
    most: int,
    keep: Keep,
    parse: Callable[[BinaryIO, tuple[int, ...], int], tuple[str, list[Any]]],
) -> Asked:
    """What a body asks of a model with one input.

    Args:
        body: from its start.
        length: of its JSON, as `json_length` has it.
        spec: of the input.
        most: items along its first axis.
        keep: puts an element of BYTES aside, since a request may wait long and files be large.
        parse: JSON to a document without data, and the data; from file, shape of an item, ``most``.

    Raises:
        Problem: 400, it is no request of the protocol, or none for this model.
        ImageError: as ``parse``.
    """
    if length == 0:
        return _raw_request(body, spec)
    head = body if length is None else io.BytesIO(body.read(length))
    item = () if spec.datatype == "BYTES" else spec.shape[1:]
    document, found = parse(head, item, most)
    call = call_of(document)
    (given,), (data,) = call.inputs, found
    check_tensor(given, spec, most)
    rest = 0 if length is None else body.seek(0, 2) - length
    size = given.parameters.get("binary_data_size")
    if size is not None:
        if data is not None or size != rest:
            raise Problem(
                400,
                f"{given.name} has binary_data_size {str(size)[:20]} and no data; behind the JSON "
                f"of the request come {rest} bytes",
            )
        body.seek(length or 0)
        found_there = (
            elements_of(body, rest, given, keep) if _is_bytes(given) else numbers_of(body, given)
        )
        return Asked(call, found_there)
    if data is None or rest:
        raise Problem(400, f"{given.name} needs its data in the JSON, or its binary_data_size")
    listed = from_lists(data, given)
    if isinstance(listed, list):
        return Asked(call, [keep(io.BytesIO(each), len(each)) for each in listed])
    return Asked(call, listed)


def _is_bytes(tensor: GivenTensor | TensorSpec) -> bool:
    return tensor.datatype == "BYTES"


def _raw_request(body: BinaryIO, spec: TensorSpec) -> Asked:
    """A body that is the tensor alone; one of BYTES is its one element."""
    if _is_bytes(spec):
        shape, data = [1], cast(Any, [body])
    else:
        content = body.read()
        items, left = divmod(len(content), WIDTH * prod(spec.shape[1:]))
        if left or not items:
            raise Problem(400, f"a body of {len(content)} bytes is no {spec.in_json()}")
        shape = [items, *spec.shape[1:]]
        data = np.frombuffer(content, "<f4").reshape(shape)
    given = GivenTensor(name=spec.name, shape=shape, datatype=spec.datatype)
    return Asked(InferenceCall(parameters={"binary_data_output": True}, inputs=[given]), data)


def check_tensor(given: GivenTensor, spec: TensorSpec, most: int) -> None:
    """Pass a tensor that a model takes.

    Raises:
        Problem: 400, it is none.
    """
    if given.name != spec.name:
        raise Problem(400, f"there is no input {given.name[:80]!r}; this model has {spec.name}")
    if given.datatype != spec.datatype:
        raise Problem(400, f"{spec.name} is {spec.datatype}, got {given.datatype[:20]!r}")
    fits = min(given.shape, default=0) > 0
    if spec.datatype == "BYTES":
        fits = fits and prod(given.shape) <= most
    else:
        fits = fits and tuple(given.shape[1:]) == spec.shape[1:] and given.shape[0] <= most
    if not fits:
        wanted = [f"1 to {most}" if size == -1 else size for size in spec.shape]
        raise Problem(
            400, f"{spec.name} has the shape {wanted}, got {given.shape[:8]}".replace("'", "")
        )


def numbers_of(body: BinaryIO, given: GivenTensor) -> Float32[np.ndarray, "..."]:
    """A tensor of FP32 from the bytes that are left of a body.

    Raises:
        Problem: 400, they are not as many as its shape says, or not finite.
    """
    content = body.read()
    size = WIDTH * prod(given.shape)
    if len(content) != size:
        raise Problem(400, f"{given.name} of {given.shape} has {size} bytes, got {len(content)}")
    found = np.frombuffer(content, "<f4").reshape(given.shape)
    if not np.isfinite(found).all():
        raise Problem(400, f"{given.name} holds numbers that are not finite")
    return found


def elements_of(body: BinaryIO, left: int, given: GivenTensor, keep: Keep) -> list[BinaryIO]:
    """A tensor of BYTES, each element behind its length; ``left`` bytes are all that come.

    Raises:
        Problem: 400, they are no such elements.
    """
    count = prod(given.shape)
    elements: list[BinaryIO] = []
    while left >= WIDTH and len(elements) < count:
        (size,) = struct.unpack("<I", body.read(WIDTH))
        left -= WIDTH + size
        if left < 0:
            break
        elements.append(keep(body, size))
    if left or len(elements) != count:
        raise Problem(
            400, f"{given.name} is {count} elements, before each its length in 4 bytes; this is not"
        )
    return elements


def from_lists(
    data: Float32[np.ndarray, "..."] | list[bytes], given: GivenTensor
) -> Float32[np.ndarray, "..."] | list[bytes]:
    """A tensor whose numbers or elements were listed.

    Raises:
        Problem: 400, they are not as many as its shape says, or of the other kind.
    """
    if isinstance(data, list) != (given.datatype == "BYTES"):
        raise Problem(
            400, f"{given.name} is {given.datatype}: numbers, or as BYTES files in base64"
        )
    count = len(data) if isinstance(data, list) else data.size
    if count != prod(given.shape):
        raise Problem(400, f"{given.name} of {given.shape} has {prod(given.shape)}, got {count}")
    return data if isinstance(data, list) else data.reshape(given.shape)


def response_of(
    call: InferenceCall,
    model: tuple[str, str],
    tensors: Sequence[AnswerTensor],
    listed: Callable[[AnswerTensor], bytes],
    parameters: Parameters,
) -> Response:
    """The answer to a request: those outputs that are wanted, in the form that is.

    Args:
        call: the request.
        model: name and version.
        tensors: the outputs, of which `wanted_of` allows no others.
        listed: a tensor as JSON.
        parameters: what else is told.
    """
    head: dict[str, Any] = {"model_name": model[0], "model_version": model[1]}
    if call.id is not None:
        head["id"] = call.id
    if parameters:
        head["parameters"] = parameters
    encoded: list[bytes] = []
    raw: list[bytes] = []
    binary = wanted_of(call, [each.name for each in tensors])
    by_name = {each.name: each for each in tensors}
    for name, is_binary in binary.items():
        tensor = by_name[name]
        entry: dict[str, Any] = {
            "name": name,
            "shape": tensor.shape,
            "datatype": tensor.datatype,
        }
        if is_binary:
            raw.append(tensor.raw())
            entry["parameters"] = {"binary_data_size": len(raw[-1])}
            encoded.append(json.dumps(entry).encode())
        else:
            encoded.append(json.dumps(entry)[:-1].encode() + b', "data": ' + listed(tensor) + b"}")
    text = json.dumps(head)[:-1].encode() + b', "outputs": [' + b", ".join(encoded) + b"]}"
    if not raw:
        return Response(text, media_type="application/json")
    headers = {LENGTH_HEADER: str(len(text))}
    return Response(b"".join([text, *raw]), headers=headers, media_type="application/octet-stream")


def wanted_of(call: InferenceCall, names: Sequence[str]) -> dict[str, bool]:
    """The outputs that are wanted, and which of them as bytes.

    Raises:
        Problem: 400, there is no such output, or it cannot be had so.
    """
    usual = call.parameters.get("binary_data_output") is True
    wanted = call.outputs or [WantedTensor(name=name) for name in names]
    for each in wanted:
        if each.name not in names:
            raise Problem(
                400, f"there is no output {each.name[:80]!r}; this model has {', '.join(names)}"
            )
        unknown = set(each.parameters) - {"binary_data"}
        if unknown:
            raise Problem(
                400, f"an output has one parameter here, binary_data, not {min(unknown)[:40]}"
            )
    return {each.name: each.parameters.get("binary_data", usual) is True for each in wanted}
