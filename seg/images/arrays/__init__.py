"""NumPy arrays as images and masks."""
