"""From a dataset folder to a model package."""
