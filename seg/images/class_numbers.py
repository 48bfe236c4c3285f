"""From the numbers of a mask's file to class numbers. Letters: ``c`` channels."""

import numpy as np
from jaxtyping import Real, UInt

from seg.errors import ImageError

OFF_WHOLE = 1e-4
"""How far class numbers that are kept as float may be from whole ones."""


def class_numbers(array: Real[np.ndarray, "c *spatial"]) -> UInt[np.ndarray, "*spatial"]:
    """(c, *spatial) of any type to (*spatial) of the smallest unsigned type.

    Raises:
        ImageError: the numbers are none of classes or objects.
    """
    labels: Real[np.ndarray, "*spatial"] = array[0]
    if any(not np.array_equal(labels, other) for other in array[1:]):
        is_one_hot = bool(((array == 0) | (array == 1)).all() and (array.sum(axis=0) == 1).all())
        way_out = (
            "each channel is one class: save the number of that channel instead (argmax)"
            if is_one_hot
            else "save it with a palette or as grey values, one number a class"
        )
        raise ImageError(f"a mask has one channel of class numbers, got {len(array)}; {way_out}")
    if labels.dtype.kind == "f":
        whole = np.round(labels)
        # scaling by a header leaves 1.0000001
        if not np.allclose(labels, whole, rtol=0, atol=OFF_WHOLE):
            raise ImageError(
                "a mask holds whole class numbers, got fractions or NaN; threshold probabilities, "
                "and resize masks without interpolation"
            )
        labels = whole
    low, high = labels.min().item(), labels.max().item()  # float16 ends below 2³²
    if low < 0 or high >= 2**32:
        hint = "; where -1 stands for what nobody annotated, save 255 instead" if low == -1 else ""
        raise ImageError(f"class numbers lie between 0 and {2**32 - 1}, got {low} to {high}{hint}")
    if labels.dtype.kind == "f" and high >= (exact := 2 ** (np.finfo(labels.dtype).nmant + 1)):
        raise ImageError(
            f"floats of {8 * labels.itemsize} bits do not tell numbers from {exact} on apart, and "
            f"the mask goes up to {high:.0f}; save it with whole numbers of 32 bits"
        )
    return labels.astype(np.min_scalar_type(int(high)))
