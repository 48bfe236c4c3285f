"""Label Studio's contract of a machine learning backend: pre-annotations out, annotations in."""
