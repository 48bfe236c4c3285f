"""The folder in which people draw, as it lies on disk; nothing here knows of HTTP routes."""
