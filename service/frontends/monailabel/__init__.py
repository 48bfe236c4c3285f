"""MONAI Label's REST contract, as 3D Slicer's module and OHIF's plug-in call it."""
