"""The process from which decoders are forked: it has read what they need, and holds nothing else.

The service cannot fork by itself, it has threads; and a decoder that was started anew would need a
second for its imports. One that is forked is there within milliseconds, and shares their memory.
"""

import gc
import importlib
import os
import signal
import socket

from service.decoding.channel import ClosedError, DecoderChannel, Message

PRELOADED = (
    *("seg.images", "pydicom", "pydicom.pixels", "pydicom.pixels.decoders", "nibabel", "tifffile"),
    *("imagecodecs", "zarr", "service.decoding.worker"),
)
MOST_BYTES = 1 << 20


def main(descriptor: int) -> None:
    """Serve until the service hangs up."""
    control = DecoderChannel(socket.socket(fileno=descriptor))
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection would write to every object, and so copy the memory that is shared
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 2)  # from now on: libraries in C may quote the file there
    decoders: dict[int, int] = {}
    try:
        control.send(Message("ready"))
        while True:
            message = control.receive(MOST_BYTES)
            number = message.head["number"]
            if message.head["ask"] == "fork":
                decoders[number] = _forked(control, message)
                message.close()
                control.send(Message(decoders[number]))
            else:
                control.send(Message(_ended(decoders.pop(number))))
    except ClosedError:
        for process in decoders.values():
            os.kill(process, signal.SIGKILL)


def _forked(control: DecoderChannel, message: Message) -> int:
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        control.close()
        from service.decoding.worker import serve

        serve(DecoderChannel(socket.socket(fileno=message.files[0])))
        status = 0
    finally:
        os._exit(status)


def _ended(process: int) -> int:
    """How it ended, as `os.waitstatus_to_exitcode` has it; it is ended where it has not."""
    os.kill(process, signal.SIGKILL)  # not yet waited for, so that its number is still its own
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
