"""TIFF, whole and in parts."""
