"""Annotations that people have drawn, one reader a format: from files of tools to labels."""
