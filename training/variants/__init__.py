"""One trained network as several, from the best to the fastest: ``training.export --variants``."""
