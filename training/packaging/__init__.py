"""A trained network, or several, as a proven package."""
