"""Logs, metrics, traces, kinds of failure."""
