"""Datasets: their cards, and `python -m data.fetch`, which brings or draws them."""
