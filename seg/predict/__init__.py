"""Segment files: ``python -m seg.predict PACKAGE IN... --out DIR``; docs/prediction.md."""
