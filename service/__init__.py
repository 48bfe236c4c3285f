"""An HTTP service for a model package: image in, mask out."""
