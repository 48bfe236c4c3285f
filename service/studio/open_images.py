"""Images of the studio's folder, decoded once and kept while somebody is at them."""

import hashlib
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

import anyio
import numpy as np
from anyio.to_thread import run_sync
from jaxtyping import Float, UInt8
from starlette.requests import Request

from seg.errors import ImageError
from seg.images import Image
from service.decoding.image_decoder import Check
from service.errors import RequestCancelledError
from service.models.ready_model import limits_of
from service.models.registry import ModelRegistry
from service.routes.until_useless import until_useless
from service.studio.on_disk.files import opened, state_of
from service.studio.on_disk.studio_folder import StudioFolder

T = TypeVar("T")

KEPT = 2
"""Images that stay in memory."""
SIDE_BY_SIDE = 2
SHOWN = (0.5, 99.5)
"""Percentiles of a channel that are black and white."""
LOOKED_AT = 200_000
"""Voxels of a channel whose percentiles are taken."""


@dataclass(frozen=True, eq=False)
class OpenImage:
    """An image, and how it is shown."""

    image: Image
    windows: Float[np.ndarray, "c 2"]
    """What is black and white of each channel."""
    content: str
    """Tells it from every image whose voxels or place differ."""

    @property
    def is_color(self) -> bool:
        """Red, green and blue of a picture."""
        return self.image.channels == 3 and self.image.array.dtype == np.uint8

    def shown(self, z: int, channel: int) -> UInt8[np.ndarray, "y x"] | UInt8[np.ndarray, "y x 3"]:
        """A slice as a screen shows it; of a picture in colour all of its channels.

        Raises:
            ImageError: there is no such slice or channel.
        """
        array = self.image.array
        depth = array.shape[1] if self.image.dims == 3 else 1
        if not (0 <= z < depth and 0 <= channel < len(array)):
            raise ImageError(f"slices are 0 to {depth - 1}, channels 0 to {len(array) - 1}")
        flat = array[:, z] if self.image.dims == 3 else array
        if self.is_color:
            return np.ascontiguousarray(np.moveaxis(flat, 0, -1))
        low, high = self.windows[channel]
        shown = np.empty(flat[channel].shape, np.uint8)
        rows = max(1, LOOKED_AT // shown.shape[1])
        for start in range(0, len(shown), rows):  # a whole slide would take 16 bytes a pixel
            part = flat[channel, start : start + rows].astype(np.float32)
            share = (part - low) / max(float(high - low), 1e-9)
            shown[start : start + rows] = np.rint(255 * np.clip(np.nan_to_num(share), 0, 1))
        return shown


class LastAsked(Generic[T]):
    """What was asked for last, by all that it depends on."""

    def __init__(self, is_too_much: Callable[[Collection[T]], bool]) -> None:
        """Be empty; of more than there may be the oldest goes."""
        self._is_too_much = is_too_much
        self._kept: OrderedDict[tuple[object, ...], T] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, key: tuple[object, ...]) -> T | None:
        """What is kept; None where it is not."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def keep(self, key: tuple[object, ...], value: T) -> None:
        """Keep it as the newest."""
        with self._lock:
            self._kept[key] = value
            while self._is_too_much(self._kept.values()):
                self._kept.popitem(last=False)


class OpenImages:
    """Those that were asked for last."""

    def __init__(self, models: ModelRegistry, folder: StudioFolder) -> None:
        self._models = models
        self._folder = folder
        self._kept = LastAsked[OpenImage](lambda kept: len(kept) > KEPT)
        self._limiter: anyio.CapacityLimiter | None = None

    async def get(self, request: Request, identity: str) -> OpenImage:
        """An image by its id.

        Raises:
            Problem: 404, there is none; 504, it takes too long.
            ImageError: its files are none that can be read.
        """
        paths = await run_sync(self._folder.files_of, identity)
        key = (identity, *await run_sync(state_of, paths))
        if kept := self._kept.of(key):
            return kept
        found = await self.in_thread(request, lambda check: self._open(paths, check))
        self._kept.keep(key, found)
        return found

    @property
    def dims(self) -> int | None:
        """Of the images here, as models say; None where there is no model."""
        version = next(iter(self._models.versions()), None)
        return version.card.input.dims if version else None

    async def decoded(self, request: Request, file: BinaryIO, dims: int | None) -> Image:
        """A file that came with a request.

        Raises:
            ImageError: it is no image.
        """
        return await self.in_thread(request, lambda check: self._decoded([file], dims, check))

    async def in_thread(self, request: Request, do: Callable[[Check], T]) -> T:
        """What ``do`` makes, in a thread, while the client waits.

        Raises:
            Problem: 504, the time is up.
        """
        timeout_s = self._models.settings.timeout_s
        useless = threading.Event()
        self._limiter = self._limiter or anyio.CapacityLimiter(SIDE_BY_SIDE)

        def check() -> None:
            if useless.is_set():
                raise RequestCancelledError

        return await until_useless(
            request,
            lambda: do(check),
            cancel=useless.set,
            timeout_s=timeout_s,
            too_late=f"it took longer than {timeout_s:g} s and was stopped",
            limiter=self._limiter,
        )

    async def drawing(
        self, request: Request, image: Image, bytes_each: int, do: Callable[[Check], T]
    ) -> T:
        """What ``do`` makes on an image's grid, in a thread, in the room that decoding shares.

        Args:
            request: whose body has come.
            image: whose grid it is.
            bytes_each: that it takes for a voxel.
            do: makes it.

        Raises:
            Problem: 504, the time is up.
            ImageTooLargeError: it takes more than there is.
            DecodingFullError: it would beside others.
        """
        needed = bytes_each * math.prod(image.spatial_shape)

        def within(check: Check) -> T:
            check()
            with self._models.decoder.room(needed):
                return do(check)

        return await self.in_thread(request, within)

    def _open(self, paths: Sequence[Path], check: Check) -> OpenImage:
        with ExitStack() as stack:
            files = [opened(path, stack) for path in paths]
            image = self._decoded(files, self.dims, check)
        windows = np.array([_window(channel) for channel in image.array])
        return OpenImage(image, windows, content_of(image))

    def _decoded(self, files: Sequence[BinaryIO], dims: int | None, check: Check) -> Image:
        limits = limits_of(self._models.settings)
        return self._models.decoder.image(files, dims=dims, limits=limits, check=check)


def content_of(image: Image) -> str:
    """Tells an image from every other whose voxels or place differ."""
    found = hashlib.blake2b(repr(image.array.shape).encode(), digest_size=16)
    if image.affine is not None:
        found.update(np.ascontiguousarray(image.affine, np.float64).tobytes())
    for channel in image.array:
        found.update(np.ascontiguousarray(channel).view(np.uint8).data)
    return found.hexdigest()


def _window(channel: np.ndarray) -> tuple[float, float]:
    step = max(1, channel.size // LOOKED_AT)
    values = channel.reshape(-1)[::step]
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, SHOWN)
    return float(low), float(high)
