"""Segment files: ``python -m seg.predict PACKAGE IN... --out DIR``; docs/prediction.md."""

from seg.predict.cases import PredictionCase, find_cases
from seg.predict.command import main
from seg.predict.options import add_backend_options

__all__ = ["PredictionCase", "add_backend_options", "find_cases", "main"]
