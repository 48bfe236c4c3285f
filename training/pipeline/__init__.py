"""A run from data to report; folds; export again."""
