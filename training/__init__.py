"""From a dataset folder to a model package."""

from seg.machine import tell_openmp

tell_openmp()
