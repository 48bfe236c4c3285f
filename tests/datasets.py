"""Small dataset folders for tests."""

import json

import numpy as np
from PIL import Image as Picture


def write_png(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(np.asarray(values, np.uint8)).save(path)


def mask_values(*values, size=(4, 6)):
    """A mask with one pixel of each value in its first row, else 0."""
    mask = np.zeros(size, np.uint8)
    mask[0, : len(values)] = values
    return mask


def plain_folder(folder, *, cases=5, values=(255,), image_shape=(4, 6)):
    """``images`` and ``masks`` with the cases a0, a1, ..."""
    for index in range(cases):
        write_png(folder / "images" / f"a{index}.png", np.full(image_shape, index))
        write_png(folder / "masks" / f"a{index}.png", mask_values(*values))
    return folder


def edit_json(folder, **changes):
    path = folder / "dataset.json"
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
