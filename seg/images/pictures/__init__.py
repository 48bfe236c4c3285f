"""PNG and its kin; a mask drawn on its image."""
