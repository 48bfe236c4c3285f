"""Lengths of a millimetre in the units that headers name."""

_NAMES = {
    "km kilometer kilometre": 1e6,
    "m meter metre": 1e3,
    "dm decimeter decimetre": 1e2,
    "cm centimeter centimetre": 10.0,
    "mm millimeter millimetre": 1.0,
    # with the sign of micro, and with the Greek letter that looks the same
    "\u00b5m \u03bcm um micron microns micrometer micrometre": 1e-3,
    "nm nanometer nanometre": 1e-6,
    "\u00e5 angstrom": 1e-7,
    "pm picometer picometre": 1e-9,
}

MM = {name: mm for names, mm in _NAMES.items() for name in names.split()}
"""A unit, in lower case, in mm. The inch is not there: programs write it for printers."""
