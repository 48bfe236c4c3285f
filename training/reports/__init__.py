"""Pages, pictures, curves and words about a run."""
