"""Patches of all requests meet on one device."""
