"""From an image to its mask, with bounded memory."""

from seg.inference.backends.combined import EnsembleBackend, MirrorBackend
from seg.inference.backends.golden import verify_golden
from seg.inference.backends.loading import load_backend, open_model
from seg.inference.backends.onnx import Backend, OnnxBackend
from seg.inference.backends.openvino import OpenVinoBackend
from seg.inference.files import predict_file, predict_files
from seg.inference.labels.selection import Selection
from seg.inference.outputs import (
    Output,
    encode_output,
    measurement_rows,
    measurement_table,
    outputs_for,
    written_together,
)
from seg.inference.predictor import Predictor
from seg.inference.tiling.sliding_window import Tiling, WindowCounts, predict_slabs
from seg.inference.trust.disagreement import voices_of
from seg.inference.trust.quality import Quality, Segmentation
from seg.names import (
    MAP_NAMES,
    OUTPUT_NAMES,
    PRECISIONS,
    PROVIDERS,
    AskedPrecision,
    MapName,
    Provider,
)

__all__ = [
    "MAP_NAMES",
    "OUTPUT_NAMES",
    "PRECISIONS",
    "PROVIDERS",
    "AskedPrecision",
    "Backend",
    "EnsembleBackend",
    "MapName",
    "MirrorBackend",
    "OnnxBackend",
    "OpenVinoBackend",
    "Output",
    "Predictor",
    "Provider",
    "Quality",
    "Segmentation",
    "Selection",
    "Tiling",
    "WindowCounts",
    "encode_output",
    "load_backend",
    "measurement_rows",
    "measurement_table",
    "open_model",
    "outputs_for",
    "predict_file",
    "predict_files",
    "predict_slabs",
    "verify_golden",
    "voices_of",
    "written_together",
]
