"""From an image to its mask, with bounded memory."""

from seg.inference.backends import Backend, OnnxBackend
from seg.inference.combined import EnsembleBackend, MirrorBackend
from seg.inference.disagreement import fewer_blocks
from seg.inference.files import predict_file
from seg.inference.golden import verify_golden
from seg.inference.loading import Provider, load_backend
from seg.inference.predictor import Predictor
from seg.inference.quality import MapName, Quality, Segmentation
from seg.inference.sliding_window import Tiling, WindowCounts, predict_slabs

__all__ = [
    "Backend",
    "EnsembleBackend",
    "MapName",
    "MirrorBackend",
    "OnnxBackend",
    "Predictor",
    "Provider",
    "Quality",
    "Segmentation",
    "Tiling",
    "WindowCounts",
    "fewer_blocks",
    "load_backend",
    "predict_file",
    "predict_slabs",
    "verify_golden",
]
