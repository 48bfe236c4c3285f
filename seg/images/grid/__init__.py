"""What all formats speak of: images, masks, classes, limits, axes, units, the world."""
