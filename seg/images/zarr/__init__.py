"""OME-Zarr, read and written chunk by chunk."""
