"""Residual U-Nets: networks, images, transforms, inference, and the model package."""
