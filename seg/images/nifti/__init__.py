"""NIfTI, whole and in parts."""
