"""Sizes and intensities of a mask as tables."""
