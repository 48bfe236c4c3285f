"""KServe's protocol over gRPC: its messages, as what the routes over REST take and answer."""

import io
import struct
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet
from open_inference.grpc import protocol
from starlette.responses import Response

from service.frontends.oip.tensors import (
    AnswerTensor,
    Asked,
    InferenceCall,
    Keep,
    Parameters,
    TensorSpec,
    call_of,
    check_tensor,
    elements_of,
    from_lists,
    numbers_of,
    wanted_of,
)
from service.problems.response import Problem

M = TypeVar("M", bound=Message)

MEDIA_TYPE = "application/grpc+proto"
DOUBLE, UNSIGNED = 4, 5
"""Fields of a parameter that the protocol got later than the messages which we import."""


def parsed(kind: type[M], content: bytes) -> M:
    """A message of that kind.

    Raises:
        Problem: 400, the bytes are none.
    """
    found: M = kind()
    try:
        found.ParseFromString(content)
    except DecodeError:
        raise Problem(400, f"the message is no {kind.DESCRIPTOR.name}") from None
    return found


def asked_of_message(
    message: protocol.ModelInferRequest, spec: TensorSpec, most: int, keep: Keep
) -> Asked:
    """What a message asks of a model with one input.

    Args:
        message: the request.
        spec: of the input.
        most: items along its first axis.
        keep: puts an element of BYTES aside.

    Raises:
        Problem: 400, it is no request of the protocol, or none for this model.
    """
    call = call_of(
        {
            "id": message.id or None,
            "parameters": _parameters(message.parameters),
            "inputs": [
                {"name": each.name, "shape": list(each.shape), "datatype": each.datatype}
                for each in message.inputs
            ],
            "outputs": [
                {"name": each.name, "parameters": _parameters(each.parameters)}
                for each in message.outputs
            ],
        }
    )
    (given,), (tensor,) = call.inputs, message.inputs
    check_tensor(given, spec, most)
    listed = tensor.contents.ByteSize()
    if len(message.raw_input_contents) + bool(listed) != 1:
        raise Problem(400, f"{given.name} needs its data once: raw_input_contents, or contents")
    if not listed:
        raw = message.raw_input_contents[0]
        if spec.datatype == "BYTES":
            return Asked(call, elements_of(io.BytesIO(raw), len(raw), given, keep))
        return Asked(call, numbers_of(io.BytesIO(raw), given))
    if spec.datatype == "BYTES":
        found = from_lists(list(tensor.contents.bytes_contents), given)
    else:
        found = from_lists(np.array(tensor.contents.fp32_contents, "<f4"), given)
    if isinstance(found, list):
        return Asked(call, [keep(io.BytesIO(each), len(each)) for each in found])
    return Asked(call, numbers_of(io.BytesIO(found.tobytes()), given))


def message_of(
    call: InferenceCall, model: tuple[str, str], tensors: list[AnswerTensor], told: Parameters
) -> Response:
    """The answer to a request: those outputs that are wanted, as bytes.

    Args:
        call: the request.
        model: name and version.
        tensors: the outputs, of which `wanted_of` allows no others.
        told: what else is told, texts by their names.
    """
    by_name = {each.name: each for each in tensors}
    chosen = [by_name[name] for name in wanted_of(call, list(by_name))]
    answer = protocol.ModelInferResponse(
        model_name=model[0],
        model_version=model[1],
        id=call.id or "",
        parameters={
            name: protocol.InferParameter(string_param=text) for name, text in told.items()
        },
        outputs=[
            protocol.ModelInferResponse.InferOutputTensor(
                name=each.name, datatype=each.datatype, shape=each.shape
            )
            for each in chosen
        ],
        raw_output_contents=[each.raw() for each in chosen],
    )
    return Response(answer.SerializeToString(), media_type=MEDIA_TYPE)


def _parameters(given: Any) -> Parameters:
    return {name: _value(name, parameter) for name, parameter in given.items()}


def _value(name: str, parameter: protocol.InferParameter) -> bool | int | float | str:
    """What a parameter holds, by whichever of its fields.

    Raises:
        Problem: 400, none that we know: passed over, it might have changed the mask.
    """
    field = parameter.WhichOneof("parameter_choice")
    if field:
        found: bool | int | str = getattr(parameter, field)
        return found
    for unknown in UnknownFieldSet(parameter):
        if unknown.field_number == DOUBLE and unknown.wire_type == 1:
            number: float = struct.unpack("<d", struct.pack("<Q", unknown.data))[0]
            return number
        if unknown.field_number == UNSIGNED and unknown.wire_type == 0:
            return int(unknown.data)
    raise Problem(400, f"the parameter {name[:40]!r} holds nothing that is known here")
