"""From an image to its mask, with bounded memory."""

from seg.inference.backends import Backend, OnnxBackend, verify_golden
from seg.inference.predictor import Predictor
from seg.inference.sliding_window import predict_slabs

__all__ = ["Backend", "OnnxBackend", "Predictor", "predict_slabs", "verify_golden"]
