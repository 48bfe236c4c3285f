"""A network as ONNX, its proof, and back."""
