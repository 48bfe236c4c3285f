"""How a picture is turned to be seen upright, as EXIF and TIFF number it."""

from seg.images.grid.orientation import Turn

ORIENTATION_TAG = 0x0112
"""Of TIFF, and of EXIF in other files."""

UPRIGHT = {
    2: Turn((0, 1), (False, True)),
    3: Turn((0, 1), (True, True)),
    4: Turn((0, 1), (True, False)),
    5: Turn((1, 0), (False, False)),
    6: Turn((1, 0), (False, True)),
    7: Turn((1, 0), (True, True)),
    8: Turn((1, 0), (True, False)),
}
"""By orientation, from rows and columns as they are stored; 1, and what is none, turns nothing.

Source: TIFF Revision 6.0 (1992), Orientation; CIPA DC-008 (EXIF) took its numbers over.
"""


def upright_turn(orientation: int, dims: int = 2) -> Turn:
    """What turns arrays ``(y, x)`` or ``(z, y, x)`` of that orientation upright."""
    before = dims - 2
    flat = UPRIGHT.get(orientation, Turn((0, 1), (False, False)))
    axes = (*range(before), *(before + axis for axis in flat.axes))
    return Turn(axes, ((False,) * before) + flat.flips)
