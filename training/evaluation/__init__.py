"""Whole images to scores; comparisons; what a package says of itself."""
