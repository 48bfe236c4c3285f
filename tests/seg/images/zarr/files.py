"""OME-Zarr files drawn by zarr, for tests."""

import io
import zipfile

import zarr

UNITS = {"z": "micrometer", "y": "micrometer", "x": "micrometer"}
TYPES = {"t": "time", "c": "channel"}


def write_zarr(folder, array, axes="zyx", scale=None, version="0.4", units=UNITS, **options):
    """One resolution of an image, as the version lays it out."""
    group = zarr.open_group(folder, mode="w", zarr_format=3 if version == "0.5" else 2)
    pixels = group.create_array("0", shape=array.shape, dtype=array.dtype, **options)
    pixels[...] = array
    named = [
        {"name": name, "type": TYPES.get(name, "space")}
        | ({"unit": units[name]} if name in units else {})
        for name in axes
    ]
    transforms = [{"type": "scale", "scale": list(scale or [1.0] * array.ndim)}]
    scales = {
        "version": version,
        "axes": named,
        "datasets": [{"path": "0", "coordinateTransformations": transforms}],
    }
    if version == "0.5":
        group.attrs["ome"] = {"version": version, "multiscales": [scales]}
    else:
        group.attrs["multiscales"] = [scales]
    return folder


def zipped_folder(folder, prefix=""):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, prefix + path.relative_to(folder).as_posix())
    return buffer.getvalue()
