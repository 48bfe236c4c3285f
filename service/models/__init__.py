"""Packages found, proven, leased; which variant answers."""
