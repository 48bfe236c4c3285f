"""Images from uploads: decoded in a process that is ended at a limit, or when nobody waits.

Only small PNG files are decoded where they came in: libpng and Pillow do no more for them than they
announce, and a message to another process would cost as much as the decoding.
"""

import io
import os
import select
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import IO, Any

import numpy as np
from jaxtyping import Float32, UInt8

from seg import errors
from seg.errors import ImageError, ImageTooLargeError
from seg.images import Image, Limits, read_channels
from seg.images.dicom.instance_facts import InstanceFacts
from seg.machine import memory_here
from service.decoding.budget import DecodingBudget, Lease
from service.decoding.channel import ClosedError, Message
from service.decoding.crossing import packed, unpacked
from service.decoding.decoders import DECODERS, DecoderProcess
from service.decoding.drawings import DrawingKind, Painted
from service.errors import DecoderFailedError, SchedulerClosedError
from service.observability.logs import LOGGER
from service.settings import Settings
from service.sharing.memory import SharedMemory

SMALL_FILE = 1 << 20
"""Bytes of a file that is sent and not handed over."""
SMALL_PNG = 5 << 16
"""Bytes of PNG files that are decoded here: noise of 512 x 512 pixels. They can unpack to a
thousand times as many, whatever their header says, and libpng looks through all of it, in a third
of a second; by a decoder a picture of that size would take half as long again."""
SMALL_PICTURE = 1 << 20
"""Pixels of an image from PNG files that is decoded here, in all channels: 8 MB at most."""
SHARE = 2
"""Of the memory that there is, decoding may have one part in so many."""
OWN_SHARE = 2
"""What is made of an image takes about as much again; both are gone when it is."""
POLL_S = 0.02
"""Between two looks at what a decoder takes, and whether somebody waits for it."""
IDLE_FACTOR = 10
"""Seconds on the clock for each second of CPU, for a decoder that waits without end."""
BACKGROUND = 10
"""Niceness of jobs."""
MOST_ANSWER = 1 << 31
"""Bytes of buffers that are taken from a decoder; images are in files."""

_PNG = b"\x89PNG\r\n\x1a\n"
_ENDED_BY_CPU = -24  # SIGXCPU

Check = Callable[[], None]
"""Raises where nobody waits any more."""


WHOLE: Mapping[str, Any] = {}
"""Nothing of several is chosen."""


@dataclass(slots=True)
class _Task:
    name: str
    arguments: dict[str, Any]
    sources: Sequence[IO[bytes]]
    check: Check
    background: bool = False


@dataclass(slots=True, eq=False)
class _Given:
    """The files of a task, as they are handed over."""

    told: list[dict[str, int]] = field(default_factory=list)
    buffers: list[bytes] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def add(self, file: IO[bytes], stack: ExitStack) -> None:
        descriptor = _descriptor_of(file)
        if descriptor is None:
            file.seek(0)
            content = file.read(SMALL_FILE + 1)
            if len(content) <= SMALL_FILE:
                self.told.append({"buffer": len(self.buffers)})
                self.buffers.append(content)
                return
            copy = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
            copy.write(content)
            shutil.copyfileobj(file, copy, SMALL_FILE)
            copy.flush()
            descriptor = copy.fileno()
        self.told.append({"file": len(self.files)})
        self.files.append(descriptor)


class ImageDecoder:
    """Decodes for one application; for any thread."""

    def __init__(self, settings: Settings) -> None:
        self.seconds = settings.max_decoding_s
        self.budget = DecodingBudget(decoding_bytes(settings), SharedMemory.of_this_service())
        self._closed = threading.Event()

    def start(self) -> None:
        """Begin to bring up what decoders are made from."""
        DECODERS.start()

    def close(self) -> None:
        """End what is being decoded, and take no more."""
        self._closed.set()

    def image(
        self,
        files: Sequence[IO[bytes]],
        *,
        dims: int | None,
        limits: Limits,
        check: Check,
        background: bool = False,
        chosen: Mapping[str, Any] = WHOLE,
    ) -> Image:
        """The image of some files, one a channel or one for all.

        Args:
            files: are read from their start, whatever their names.
            dims: 2 or 3; None where the file alone says it.
            limits: sizes that are read.
            check: is called many times a second; what it raises ends the decoding.
            background: it gives way to others.
            chosen: of several images in the files the ``series`` or the ``frame`` of
                ``service.decoding.tasks.read`` that is wanted.

        Raises:
            ImageError: the files are no such image.
            ImageTooLargeError: they take more time or memory than decoding may.
            DecodingFullError: they would, beside others that are being decoded.
            SchedulerClosedError: the service is shutting down.
        """
        check()
        if not any(chosen.values()) and _are_small_png(files):
            return read_channels([_whole(file) for file in files], dims=dims, limits=limits)
        arguments = {"dims": dims, "limits": asdict(limits), **chosen}
        with self._done(_Task("image", arguments, files, check, background)) as (done, lease):
            image: Image = done
            lease.keep(OWN_SHARE * image.array.nbytes)
            weakref.finalize(image, lease.release)
            return image

    def picture(
        self,
        files: Sequence[IO[bytes]],
        *,
        dims: int,
        limits: Limits,
        check: Check,
        task: str,
        wish: Mapping[str, Any],
    ) -> tuple[memoryview, str, tuple[int, int]]:
        """What a browser can show of an image, its media type, and the image's size; as `image`.

        ``task`` and ``wish`` are a function of ``service.decoding.pictures``, as ``worker`` names
        it, and what it takes beside sources, dims and limits.
        """
        arguments = {"dims": dims, "limits": asdict(limits), **wish}
        with self._done(_Task(task, arguments, files, check)) as (done, lease):
            content, kind, size = done
            lease.release()
            return content.data, kind, tuple(size)

    def instance(self, file: IO[bytes], *, check: Check) -> InstanceFacts:
        """What a file of DICOM is, from its header; as `image`."""
        with self._done(_Task("instance", {}, [file], check)) as (facts, lease):
            lease.release()
            return facts  # type: ignore[no-any-return]

    def patches(
        self, file: IO[bytes], *, shape: tuple[int, ...], most: int, check: Check
    ) -> Float32[np.ndarray, "b c *patch"]:
        """Patches of a shape from JSON; as `image`."""
        arguments = {"shape": shape, "most": most}
        with self._done(_Task("patches", arguments, [file], check)) as (patches, lease):
            lease.release()
            return patches  # type: ignore[no-any-return]

    def tensors(
        self, file: IO[bytes], *, shape: tuple[int, ...], most: int, check: Check
    ) -> tuple[str, list[Float32[np.ndarray, "..."] | list[bytes] | None]]:
        """The JSON of a request with tensors and, apart from it, their data; as `image`."""
        arguments = {"shape": shape, "most": most}
        with self._done(_Task("tensors", arguments, [file], check)) as (found, lease):
            lease.release()
            return found  # type: ignore[no-any-return]

    def drawing(
        self, file: IO[bytes], kind: DrawingKind, image: Image, *, are_objects: bool, check: Check
    ) -> Painted:
        """Shapes of a JSON file, painted on an image's grid; as `image`."""
        arguments = {
            "kind": kind,
            "shape": image.spatial_shape,
            "spacing": image.spacing,
            "are_objects": are_objects,
        }
        with self._done(_Task("drawing", arguments, [file], check)) as (painted, lease):
            lease.release()
            return painted  # type: ignore[no-any-return]

    def as_json(
        self, array: Float32[np.ndarray, "..."] | UInt8[np.ndarray, "..."], check: Check
    ) -> memoryview:
        """An array as JSON lists; as `image`."""
        with self._done(_Task("json", {"array": array}, [], check)) as (content, lease):
            lease.release()
            return content.data  # type: ignore[no-any-return]

    @contextmanager
    def room(self, size: int, image: Image | None = None) -> Iterator[None]:
        """So many bytes of what decoding may take, for what is made of images.

        Args:
            size: bytes.
            image: one that was decoded here, whose room is taken as well.

        Raises:
            ImageTooLargeError: there never are so many.
            DecodingFullError: others have them now.
        """
        lease = self.budget.lease()
        try:
            if image is not None:
                self.budget.require_ever(size + OWN_SHARE * image.array.nbytes)
            lease.keep(size)
            yield
        finally:
            lease.release()

    @contextmanager
    def _done(self, task: _Task) -> Iterator[tuple[Any, Lease]]:
        lease = self.budget.lease()
        try:
            yield self._run(task, lease), lease
        except BaseException:
            lease.release()
            raise

    def _run(self, task: _Task, lease: Lease) -> Any:
        with ExitStack() as stack:
            given = _Given()
            for file in task.sources:
                given.add(file, stack)
            arguments = packed(task.arguments)
            stack.callback(arguments.close)
            offset = len(arguments.buffers)
            told = [
                {"buffer": each["buffer"] + offset}
                if "buffer" in each
                else {"file": each["file"] + len(arguments.files)}
                for each in given.told
            ]
            head = {
                "task": task.name,
                "arguments": arguments.head,
                "sources": told,
                "memory": self.budget.total,
                "seconds": self.seconds,
                "niceness": BACKGROUND if task.background else 0,
            }
            buffers = [*arguments.buffers, *given.buffers]
            message = Message(head, buffers, [*arguments.files, *given.files])
            return self._asked(message, task, lease)

    def _asked(self, message: Message, task: _Task, lease: Lease) -> Any:
        try:
            decoder = DECODERS.lend(new=task.background)
        except ClosedError as error:
            raise DecoderFailedError("no decoder can be started") from error
        try:
            decoder.channel.send(message)
            self._wait(decoder, message.files, task.check, lease)
            answer = decoder.channel.receive(MOST_ANSWER)
        except ClosedError:
            raise _ended_by(decoder.end(), self.seconds) from None
        except BaseException:
            decoder.end()
            raise
        try:
            done = _told(answer)
        except DecoderFailedError:
            decoder.end()
            raise
        except Exception:
            DECODERS.give_back(decoder)
            raise
        finally:
            answer.close()
        if task.background:  # what is nice once stays so
            decoder.end()
        else:
            DECODERS.give_back(decoder)
        return done

    def _wait(
        self, decoder: DecoderProcess, given: Sequence[int], check: Check, lease: Lease
    ) -> None:
        until = monotonic() + IDLE_FACTOR * self.seconds
        poll = select.poll()
        poll.register(decoder.channel.fileno(), select.POLLIN)
        while not poll.poll(1000 * POLL_S):
            check()
            lease.take(decoder.taken(given))
            if self._closed.is_set():
                raise SchedulerClosedError("the service is shutting down")
            if monotonic() > until:
                raise _too_slow(self.seconds)


def decoding_bytes(settings: Settings) -> int:
    """Bytes that all decoding may take together."""
    chosen = settings.max_decoding_mb
    return memory_here() // SHARE if chosen is None else int(chosen * 1e6)


def _told(answer: Message) -> Any:
    """What a decoder answers.

    Raises:
        ImageError: it says so.
        DecoderFailedError: something else failed there.
    """
    head = answer.head
    if "done" in head:
        return unpacked(Message(head["done"], answer.buffers, answer.files))
    if "refused" in head:
        name, sentence = head["refused"]
        kind = getattr(errors, name, ImageError)
        raise (kind if issubclass(kind, ImageError) else ImageError)(sentence)
    if "disk" in head:
        raise OSError(head["disk"], os.strerror(head["disk"]))
    fields = {"error": head["failed"], "frames": head["frames"]}
    LOGGER.error("decoder", extra={"fields": fields})
    raise DecoderFailedError(head["failed"])


def _ended_by(status: int, seconds: float) -> ImageError:
    """What an image did to its decoder."""
    if status == _ENDED_BY_CPU:
        return _too_slow(seconds)
    LOGGER.error("decoder died", extra={"fields": {"status": status}})
    return ImageError(
        "the file broke the program that decodes it, and nothing else; it is damaged, or needs "
        "more memory than there is; save it anew or in another format"
    )


def _too_slow(seconds: float) -> ImageTooLargeError:
    return ImageTooLargeError(
        f"decoding the image took more than {seconds:g} s and was stopped; save it anew, or raise "
        "SEG_MAX_DECODING_S"
    )


def _are_small_png(files: Sequence[IO[bytes]]) -> bool:
    """They are decoded within some hundredths of a second, whatever they hold."""
    pixels = size = 0
    for file in files:
        file.seek(0)
        head = file.read(24)
        if not head.startswith(_PNG):
            return False
        size += file.seek(0, os.SEEK_END)
        pixels += int.from_bytes(head[16:20], "big") * int.from_bytes(head[20:24], "big")
    return size <= SMALL_PNG and pixels <= SMALL_PICTURE


def _whole(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _descriptor_of(file: IO[bytes]) -> int | None:
    """Of a file on this machine's disk; None of one in memory or elsewhere."""
    if isinstance(file, tempfile.SpooledTemporaryFile) and not file._rolled:  # type: ignore[attr-defined]
        return None
    try:
        file.flush()
        return file.fileno()
    except (OSError, AttributeError, io.UnsupportedOperation):
        return None
