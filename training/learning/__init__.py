"""Losses, module, callbacks, trainer."""
