"""One drawing as each tool writes it: a cell with a hole, and a round nucleus' box."""

import base64
import io
import json
import zipfile

import numpy as np
from PIL import Image as Picture
from pycocotools import mask as coco_mask
from roifile import ImagejRoi

HEIGHT, WIDTH = 20, 30
OUTER = [[2, 3], [14, 3], [14, 15], [2, 15]]
HOLE = [[5, 6], [9, 6], [9, 10], [5, 10]]
BOX = [[18, 4], [26, 4], [26, 9], [18, 9]]


def cell(*, hole=True):
    pixels = np.zeros((HEIGHT, WIDTH), bool)
    pixels[3:15, 2:14] = True
    pixels[6:10, 5:9] = not hole
    return pixels


def nucleus():
    pixels = np.zeros((HEIGHT, WIDTH), bool)
    pixels[4:9, 18:26] = True
    return pixels


def expected(*, hole=True):
    """Labels with 1 for the cell and 2 for the nucleus."""
    return cell(hole=hole) + 2 * nucleus().astype(np.uint8)


def flat(points):
    return [float(number) for point in points for number in point]


def coco(names):
    runs = coco_mask.encode(np.asfortranarray(cell().astype(np.uint8)))
    runs["counts"] = runs["counts"].decode()
    whole = {"image_id": 7, "iscrowd": 0}
    images = [
        {"id": 7 + i, "file_name": name, "height": HEIGHT, "width": WIDTH}
        for i, name in enumerate(names)
    ]
    annotations = [
        {**whole, "image_id": image["id"], "id": 2 * image["id"] + k, **what}
        for image in images
        for k, what in enumerate(
            (
                {"category_id": 3, "segmentation": runs},
                {"category_id": 5, "segmentation": [flat(BOX)]},
            )
        )
    ]
    categories = [{"id": 5, "name": "nucleus"}, {"id": 3, "name": "cell"}]
    return json.dumps({"images": images, "categories": categories, "annotations": annotations})


def labelme(name):
    content = io.BytesIO()
    Picture.fromarray(cell()[3:15, 2:14]).save(content, "PNG")
    return json.dumps(
        {
            "version": "5.5.0",
            "shapes": [
                {
                    "label": "cell",
                    "points": [[2, 3], [13, 14]],
                    "shape_type": "mask",
                    "mask": base64.b64encode(content.getvalue()).decode(),
                },
                {"label": "nucleus", "points": BOX, "shape_type": "polygon"},
                {"label": "nucleus", "points": [[1, 1]], "shape_type": "point"},
            ],
            "imagePath": name,
            "imageHeight": HEIGHT,
            "imageWidth": WIDTH,
        }
    )


def cvat(names):
    part = cell()[3:15, 2:14].ravel()
    edges = np.flatnonzero(np.diff(part)) + 1
    lengths = np.diff([0, *edges, len(part)]).tolist()
    rle = ", ".join(map(str, lengths if not part[0] else [0, *lengths]))
    box = ";".join(f"{x}.00,{y}.00" for x, y in BOX)
    images = "".join(
        f'<image id="{i}" name="{name}" width="{WIDTH}" height="{HEIGHT}">'
        f'<polygon label="nucleus" source="manual" points="{box}" z_order="1"/>'
        f'<mask label="cell" rle="{rle}" left="2" top="3" width="12" height="12" z_order="0"/>'
        '<points label="nucleus" points="1.0,1.0" z_order="0"/></image>'
        for i, name in enumerate(names)
    )
    labels = "".join(f"<label><name>{n}</name></label>" for n in ("cell", "nucleus"))
    meta = f"<meta><task><labels>{labels}</labels></task></meta>"
    head = '<?xml version="1.0" encoding="utf-8"?>'
    return f"{head}<annotations><version>1.1</version>{meta}{images}</annotations>"


def brush(pixels):
    """A brush stroke as Label Studio's format describes it, bit by bit."""
    values = np.repeat(255 * pixels.ravel().astype(np.uint8), 4)
    edges = np.flatnonzero(np.diff(values)) + 1
    runs = np.split(values, edges)
    sizes = (3, 4, 8, 16)
    bits = f"{len(values):032b}{8 - 1:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    for run in runs:
        which = next(i for i, size in enumerate(sizes) if len(run) <= 2**size)
        bits += f"1{which:02b}{len(run) - 1:0{sizes[which]}b}{run[0]:08b}"
    bits += "0" * (-len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


def label_studio(names):
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    percent = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in BOX]
    result = [
        {
            **size,
            "type": "brushlabels",
            "value": {"format": "rle", "rle": brush(cell()), "brushlabels": ["cell"]},
        },
        {
            **size,
            "type": "polygonlabels",
            "value": {"points": percent, "closed": True, "polygonlabels": ["nucleus"]},
        },
    ]
    return json.dumps(
        [
            {
                "id": i,
                "annotations": [
                    {"result": [], "was_cancelled": True},
                    {"result": result, "updated_at": "2026-01-02", "was_cancelled": False},
                    {"result": [], "updated_at": "2026-01-01", "was_cancelled": False},
                ],
                "file_upload": f"0123abcd-{name}",
                "data": {"image": f"/data/upload/1/0123abcd-{name}"},
            }
            for i, name in enumerate(names)
        ]
    )


def qupath():
    def feature(rings, name):
        return {
            "type": "Feature",
            "id": "x",
            "geometry": {"type": "Polygon", "coordinates": [[*r, r[0]] for r in rings]},
            "properties": {"objectType": "annotation", "classification": {"name": name}},
        }

    features = [feature([OUTER, HOLE], "cell"), feature([BOX], "nucleus")]
    return json.dumps({"type": "FeatureCollection", "features": features})


def roi_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        for name, points in (("cell-1", OUTER), ("nucleus 12", BOX)):
            archive.writestr(f"{name}.roi", ImagejRoi.frompoints(points, name=name).tobytes())


def cellpose(path):
    masks = 4 * cell().astype(np.uint16) + nucleus()
    other = {"outlines": masks, "filename": "x.png", "flows": [np.zeros(3)], "est_diam": 3.5}
    np.save(path, {"masks": masks, "img": np.zeros((HEIGHT, WIDTH)), **other})


def seg_nrrd(path, layers, segments, *, space_origin=(0, 0, 0)):
    """A segmentation as Slicer writes it: layers, each (z, y, x), and (name, value, layer)."""
    stack = np.stack(layers, axis=-1) if len(layers) > 1 else layers[0]
    sizes = stack.shape[::-1]
    has_layers = len(layers) > 1
    lines = [
        "NRRD0004",
        "type: unsigned char",
        f"dimension: {len(sizes)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, sizes))}",
        f"space directions: {'none ' if has_layers else ''}(1,0,0) (0,1,0) (0,0,2)",
        f"kinds: {'list ' if has_layers else ''}domain domain domain",
        "encoding: raw",
        f"space origin: ({','.join(map(str, space_origin))})",
        *(
            line
            for i, (name, value, layer) in enumerate(segments)
            for line in (
                f"Segment{i}_ID:=Segment_{i}",
                f"Segment{i}_Name:={name}",
                None if value is None else f"Segment{i}_LabelValue:={value}",
                None if layer is None else f"Segment{i}_Layer:={layer}",
            )
            if line
        ),
    ]
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + stack.astype(np.uint8).tobytes())
