"""Models that were trained with other software, as model packages."""
