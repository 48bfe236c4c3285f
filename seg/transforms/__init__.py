"""Resample, normalise, pad: numpy and scipy, deterministic, each with its undo."""

from seg.transforms.spec import Normalisation, Preprocessing

__all__ = ["Normalisation", "Preprocessing"]
