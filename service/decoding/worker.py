"""What a process does that decodes: it waits for a task, does it within limits, and answers.

It has no thread of the service's, no key, no connection but the one to the service.
"""

import errno
import io
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from seg.errors import ImageError, ImageTooLargeError
from seg.images import Limits
from service.decoding import drawings, pictures, tasks
from service.decoding.channel import ClosedError, DecoderChannel, Message
from service.decoding.crossing import packed, unpacked
from service.expendable import be_expendable

TASKS: Mapping[str, Callable[..., Any]] = {
    "image": tasks.read,
    "picture": pictures.show,
    "stacks": pictures.stacks,
    "frames": pictures.frames,
    "instance": tasks.tell,
    "patches": tasks.parse_patches,
    "tensors": tasks.parse_tensors,
    "json": tasks.write_json,
    "drawing": drawings.paint,
}
TOO_MUCH_MEMORY = (
    "the image takes more memory than decoding may have here; crop it, make it coarser, or raise "
    "SEG_MAX_DECODING_MB"
)
WHOLE = 8 << 20
"""Bytes of a file that is read at once: a picture's reader wants all of it, and looks at its parts
before; each would be read from the system."""
MOST_BYTES = 1 << 40
"""Of buffers from the service, which is believed."""


def serve(channel: DecoderChannel) -> None:
    """Do one task after the other until the service hangs up."""
    be_expendable()
    while True:
        try:
            message = channel.receive(MOST_BYTES)
        except ClosedError:
            return
        with ExitStack() as files:
            sources = [_opened(source, message, files) for source in message.head["sources"]]
            answer = _answer(message, sources)
        del sources
        try:
            channel.send(answer)
        except ClosedError:
            return
        finally:
            answer.close()


def _opened(source: Mapping[str, int], message: Message, files: ExitStack) -> Any:
    if "buffer" in source:
        return bytes(message.buffers[source["buffer"]])
    descriptor = message.files[source["file"]]
    size = os.fstat(descriptor).st_size
    if size <= WHOLE:
        content = os.pread(descriptor, size, 0)
        if len(content) == size:
            return content
    file = files.enter_context(io.BufferedReader(io.FileIO(descriptor)))
    file.seek(0)
    return file


def _answer(message: Message, sources: Sequence[Any]) -> Message:
    task = message.head
    try:
        _limit(task["memory"], task["seconds"])
        if task["niceness"]:
            os.setpriority(os.PRIO_PROCESS, 0, task["niceness"])
        arguments = unpacked(Message(task["arguments"], message.buffers, message.files))
        if "limits" in arguments:
            arguments["limits"] = Limits(**arguments["limits"])
        done = packed(TASKS[task["task"]](sources, **arguments))
    except BaseException as error:
        return Message(_failure(error))
    done.head = {"done": done.head}
    return done


def _limit(memory: int, seconds: float) -> None:
    """Of this task: what is mapped for data, bytes of a file, seconds of CPU."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (memory, resource.RLIM_INFINITY))
    until = int(time.process_time() + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (_data() + memory, resource.RLIM_INFINITY))


def _data() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")


def _failure(error: BaseException) -> dict[str, Any]:
    """What is told: sentences of ours, never those of a library, which may quote the file."""
    for cause in _causes(error):
        if isinstance(cause, MemoryError) or getattr(cause, "errno", None) == errno.EFBIG:
            return {"refused": [ImageTooLargeError.__name__, TOO_MUCH_MEMORY]}
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return {"disk": cause.errno}
    if isinstance(error, ImageError):
        return {"refused": [type(error).__name__, str(error)]}
    frames = traceback.extract_tb(error.__traceback__)
    told = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return {"failed": type(error).__name__, "frames": told}


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
