"""How a supervisor tells its processes where they add up; imports nothing, so that it may ask."""

SHARED = "SEGMENTER_METRICS"
"""Environment variable: the folder through which the processes of one service add up."""
