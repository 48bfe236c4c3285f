"""BentoML's image and supervisor; HTTP within bounds."""
