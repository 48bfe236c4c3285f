"""The studio: a dataset in which people draw, versions and all, and the models that learn of it."""
