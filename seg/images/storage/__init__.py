"""Bytes from paths, archives and streams, and what libraries raise on damage."""
