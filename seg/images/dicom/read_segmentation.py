"""DICOM SEG objects as masks: on the grid of their image, or else on the grid that they state.

A SEG leaves empty frames out, and its frames lie where the slices of a series lie, which may be
tilted, uneven or rounded. So frames are laid on an image one by one: on the slice that they refer
to, or else on the one where they lie. Source: DICOM PS3.3, A.51 and C.8.20.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Integer, UInt16

from seg.errors import ImageError, UnsupportedImageError
from seg.images.dicom.file import Dataset, parse, pydicom, translated
from seg.images.dicom.geometry import Stack, stack, stack_with_gaps
from seg.images.dicom.pixels.decoding import check_frames, decoders_of
from seg.images.dicom.planes import SAME, UNEVEN, Plane, planes_of
from seg.images.grid.image import Image
from seg.images.grid.limits import ReadOptions
from seg.images.grid.world import LPS_TO_RAS
from seg.images.storage.files import BinaryFile

SEGMENTATION = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes of a DICOM SEG and of one whose pixels are segment numbers (label map)."""

IN_PLANE = 0.05
"""Of a pixel: how far a frame may lie beside its slice within the plane; headers are rounded."""


@dataclass(frozen=True, eq=False, slots=True)
class _Frame:
    """What is known of a frame before its pixels."""

    plane: Plane
    segment: int | None
    """None where pixels are segment numbers."""
    sources: tuple[tuple[str, int | None], ...]
    """Images that it was made of: instance, and frame from 0 where one was named."""


def read_segmentation(file: BinaryFile, header: Dataset, options: ReadOptions) -> Image:
    """Segment numbers as an image of one channel; 0 where there is no segment.

    Where the image that it belongs to is known, on the image's grid. Else a SEG of slices is as
    high as from its first to its last frame: slices that are left out between them are empty.

    Raises:
        ImageError: segments overlap, the frames make no volume, or lie beside the image.
        UnsupportedImageError: probabilities in place of a mask.
    """
    _check_header(header)
    whole = parse(file, pixels=True)
    with translated():
        frames = _frames_of(whole)
        if options.onto is not None:
            return _on_image(whole, frames, options.onto)
        return _on_its_own(whole, frames, options)


def _check_header(header: Dataset) -> None:
    with translated():
        if "TotalPixelMatrixRows" in header:
            raise UnsupportedImageError("a DICOM SEG of a whole slide in tiles is not read")
        if header.get("Rows") is None or header.get("Columns") is None:
            raise ImageError("the DICOM SEG holds no frames; send one with pixels")


def _frames_of(whole: Dataset) -> list[_Frame]:
    count = int(whole.get("NumberOfFrames") or 1)
    groups = whole.get("PerFrameFunctionalGroupsSequence") or ()
    shared = (whole.get("SharedFunctionalGroupsSequence") or [pydicom().Dataset()])[0]
    if groups and len(groups) < count:
        raise ImageError(
            f"the DICOM SEG announces {count} frames and describes {len(groups)}; repair the header"
        )
    is_map = whole.get("SegmentationType") == "LABELMAP" or whole.SOPClassUID == SEGMENTATION[1]
    frames = []
    for plane, group in zip(planes_of(whole, count), groups or [shared] * count, strict=False):
        segment = None
        if not is_map:
            named = group.get("SegmentIdentificationSequence") or shared.get(
                "SegmentIdentificationSequence"
            )
            if not named:
                raise ImageError("a frame of the DICOM SEG names no segment; repair the header")
            segment = int(named[0].ReferencedSegmentNumber)
        frames.append(_Frame(plane, segment, _sources(group)))
    return frames


def _sources(group: Dataset) -> tuple[tuple[str, int | None], ...]:
    found = []
    for derivation in group.get("DerivationImageSequence") or ():
        for source in derivation.get("SourceImageSequence") or ():
            numbers = source.get("ReferencedFrameNumber")
            many = numbers if isinstance(numbers, (list, pydicom().multival.MultiValue)) else None
            for number in many or [numbers]:
                frame = None if number is None or number == "" else int(number) - 1
                found.append((str(source.get("ReferencedSOPInstanceUID")), frame))
    return tuple(found)


def _on_image(whole: Dataset, frames: Sequence[_Frame], image: Image) -> Image:
    """On the grid of the image, slice by slice; frames without a voxel may lie anywhere."""
    shape = image.spatial_shape if len(image.spatial_shape) == 3 else (1, *image.spatial_shape)
    labels = np.zeros(shape, np.uint16)
    slices = _slices_of(image, shape[0])
    named = {source: z for z, (source, _) in enumerate(slices)}
    beside = 0
    for frame, pixels in zip(frames, _pixels(whole), strict=True):
        if not pixels.any():
            continue
        z = _slice_of(frame, pixels.shape, slices, named) if pixels.shape == shape[1:] else None
        target = None if z is None else labels[z]
        if target is None and image.affine is not None:
            target = _turned_onto(frame.plane, pixels.shape, image.affine, labels)
        if target is None:
            beside += 1
        else:
            _put(target, pixels, frame.segment)
    if beside:
        raise ImageError(
            f"{beside} of {len(frames)} frames of the DICOM SEG lie on no slice of the image; send "
            "the series that it was made of"
        )
    array = labels[np.newaxis]
    if len(image.spatial_shape) == 2:
        array = array[:, 0]
    return replace(image, array=array, headers=())


def _slices_of(image: Image, count: int) -> list[tuple[tuple[str, int | None], Plane]]:
    """Instance, frame and plane of each slice of the image; none where it is not from DICOM."""
    headers = image.headers
    if len(headers) == count:
        return [((str(h.get("SOPInstanceUID")), None), planes_of(h, 1)[0]) for h in headers]
    if len(headers) != 1:
        return []
    planes = planes_of(headers[0], count)
    order = stack(planes).order if all(p.is_placed for p in planes) else range(count)
    uid = str(headers[0].get("SOPInstanceUID"))
    return [((uid, frame), planes[frame]) for frame in order]


def _slice_of(
    frame: _Frame,
    shape: tuple[int, ...],
    slices: Sequence[tuple[tuple[str, int | None], Plane]],
    named: dict[tuple[str, int | None], int],
) -> int | None:
    """The slice that a frame refers to, or where it lies; None where neither is told."""
    placed = [plane.is_placed for _, plane in slices]
    for source in frame.sources:
        z = named.get(source, named.get((source[0], 0)) if len(slices) == 1 else None)
        if z is None:
            continue
        if not frame.plane.is_placed or not placed[z]:
            return z  # neither lies anywhere: an X-ray
        if _is_same_plane(frame.plane, slices[z][1], shape, UNEVEN * _step(slices)):
            return z
    if not frame.plane.is_placed or not slices or not all(placed):
        return None
    first = slices[0][1]
    depths = np.array([plane.position @ first.normal for _, plane in slices])
    nearest = int(np.abs(depths - frame.plane.position @ first.normal).argmin())
    tolerance = UNEVEN * _step(slices)
    same = _is_same_plane(frame.plane, slices[nearest][1], shape, tolerance)
    return nearest if same else None


def _step(slices: Sequence[tuple[tuple[str, int | None], Plane]]) -> float:
    """Mean distance of slices in mm; of a single one how thick it is."""
    first, last = slices[0][1], slices[-1][1]
    if len(slices) == 1:
        return first.thickness or 1.0
    assert first.position is not None
    assert last.position is not None
    return abs(float((last.position - first.position) @ first.normal)) / (len(slices) - 1)


def _is_same_plane(one: Plane, other: Plane, shape: tuple[int, ...], tolerance: float) -> bool:
    """Both hold the same pixels: ``tolerance`` mm along the normal, little within the plane."""
    assert one.pixel is not None
    assert other.pixel is not None
    assert one.axes is not None
    assert other.axes is not None
    assert one.position is not None
    assert other.position is not None
    if not np.allclose(one.pixel, other.pixel, rtol=SAME, atol=0):
        return False
    if np.abs(one.axes - other.axes).max() > SAME:
        return False
    apart = one.position - other.position
    along, down = other.axes @ apart
    rows_mm, columns_mm = other.pixel
    return bool(
        abs(apart @ other.normal) <= max(tolerance, SAME)
        and abs(along) <= IN_PLANE * columns_mm
        and abs(down) <= IN_PLANE * rows_mm
    )


def _turned_onto(
    plane: Plane,
    shape: tuple[int, ...],
    affine: Float[np.ndarray, "4 4"],
    labels: UInt16[np.ndarray, "z y x"],
) -> UInt16[np.ndarray, "rows columns"] | None:
    """The voxels of a grid on which a frame lies, seen as the frame; None where it does not.

    Axes may be turned and flipped, as those of a NIfTI file of the same series are.
    """
    if not plane.is_placed:
        return None
    assert plane.pixel is not None
    assert plane.axes is not None
    assert plane.position is not None
    rows, columns = shape
    corners = np.ones((4, 4))
    steps = plane.axes * np.array(plane.pixel[::-1])[:, None]
    for i, (column, row) in enumerate([(0, 0), (columns - 1, 0), (0, rows - 1)]):
        corners[i, :3] = plane.position + column * steps[0] + row * steps[1]
    xyz = (np.linalg.inv(affine) @ LPS_TO_RAS @ corners.T).T[:3, :3]
    first, right, down = xyz.round().astype(int)
    thick = np.linalg.norm(affine[:3, :3], axis=0)
    if (np.abs(xyz - xyz.round()) > max(IN_PLANE, UNEVEN * float(thick.min() / thick.max()))).any():
        return None
    if (np.minimum(np.minimum(first, right), down) < 0).any():
        return None
    if (np.maximum(np.maximum(first, right), down) >= labels.shape[::-1]).any():
        return None
    index: list[int | slice] = [int(n) for n in first[::-1]]
    order = []
    for start, end, length in ((first, down, rows), (first, right, columns)):
        moved = np.flatnonzero(start != end)
        if length == 1:
            continue
        if len(moved) != 1 or abs(int(end[moved[0]] - start[moved[0]])) != length - 1:
            return None
        axis = 2 - int(moved[0])
        low, high = sorted((int(start[moved[0]]), int(end[moved[0]])))
        forward = slice(low, high + 1)
        backward = slice(high, low - 1 if low else None, -1)
        index[axis] = forward if end[moved[0]] > start[moved[0]] else backward
        order.append(axis)
    view: UInt16[np.ndarray, ...] = labels[tuple(index)]
    if len(order) == 2 and order[0] > order[1]:
        view = view.T
    return view.reshape(shape) if view.shape != tuple(shape) else view


def _on_its_own(whole: Dataset, frames: Sequence[_Frame], options: ReadOptions) -> Image:
    """On the grid that the frames make."""
    rows, columns = int(whole.Rows), int(whole.Columns)
    options.limits.check((1, rows, columns), 1, 2)
    grid, places, count = _grid_of(frames, whole)
    options.limits.check((count, rows, columns), 1, 2)
    is_flat = options.dims == 2 or (options.dims is None and count == 1)
    if is_flat and count > 1:
        raise ImageError(
            f"a 2D mask is needed, the DICOM SEG is a volume of {count} slices; send one slice"
        )
    labels = np.zeros((count, rows, columns), np.uint16)
    for frame, place, pixels in zip(frames, places, _pixels(whole), strict=True):
        _put(labels[place], pixels, frame.segment)
    dims = 2 if is_flat else 3
    spacing = grid.spacing if grid.spacing is None else grid.spacing[-dims:]
    if spacing is not None and len(spacing) < dims:
        spacing = None
    return Image(
        labels if is_flat else labels[np.newaxis],
        spacing=spacing,
        affine=grid.affine,
        headers=(whole,),
    )


def _grid_of(frames: Sequence[_Frame], whole: Dataset) -> tuple[Stack, list[int], int]:
    """The grid, the slice of each frame, and how many slices there are."""
    planes = [frame.plane for frame in frames]
    if not all(plane.is_placed for plane in planes):
        if len({frame.sources for frame in frames}) > 1 or _repeats(frames):
            raise ImageError(
                "the frames of the DICOM SEG do not say where they lie, or make no volume"
            )
        return Stack((0,), planes[0].pixel, None), [0] * len(frames), 1
    measures = (whole.get("SharedFunctionalGroupsSequence") or [whole])[0].get(
        "PixelMeasuresSequence"
    )
    stated = measures[0].get("SpacingBetweenSlices") if measures else None
    grid, places = stack_with_gaps(planes, abs(float(stated)) if stated else None)
    return grid, list(places), max(places) + 1


def _repeats(frames: Sequence[_Frame]) -> bool:
    segments = [frame.segment for frame in frames]
    return len(set(segments)) < len(segments)


def _pixels(whole: Dataset) -> Iterator[Integer[np.ndarray, "rows columns"]]:
    """Frame by frame: all of many classes would not fit into the memory.

    Of fractions, a mask where each is nothing or everything.
    """
    fractional = whole.get("SegmentationType") == "FRACTIONAL"
    highest = int(whole.get("MaximumFractionalValue") or 255)
    decoder, *_ = decoders_of(whole)
    check_frames(
        whole, int(whole.get("NumberOfFrames") or 1), int(whole.Rows), int(whole.Columns), 1
    )
    for pixels in pydicom().pixels.iter_pixels(whole, raw=True, decoding_plugin=decoder):
        if fractional and ((pixels > 0) & (pixels < highest)).any():
            raise UnsupportedImageError(
                "this DICOM SEG holds fractions, not a mask; send a binary one or a label map"
            )
        yield pixels


def _put(
    target: UInt16[np.ndarray, "rows columns"],
    pixels: Integer[np.ndarray, "rows columns"],
    segment: int | None,
) -> None:
    inside = pixels > 0
    new = pixels[inside] if segment is None else segment
    before = target[inside]
    if ((before > 0) & (before != new)).any():
        raise ImageError(
            "segments of the DICOM SEG overlap, so they are no mask of one class a voxel"
        )
    target[inside] = new
