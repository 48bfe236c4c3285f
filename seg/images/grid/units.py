"""Lengths of a millimetre in the units that headers name."""

MM = {
    "m": 1e3,
    "meter": 1e3,
    "cm": 10.0,
    "centimeter": 10.0,
    "mm": 1.0,
    "millimeter": 1.0,
    "\u00b5m": 1e-3,
    "um": 1e-3,
    "micron": 1e-3,
    "microns": 1e-3,
    "micrometer": 1e-3,
    "nm": 1e-6,
    "nanometer": 1e-6,
    "\u00e5": 1e-7,
    "angstrom": 1e-7,
}
"""A unit, in lower case, in mm. The inch is not there: programs write it for printers."""
