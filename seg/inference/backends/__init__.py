"""What runs a network: onnxruntime, OpenVINO, ensembles, the fastest; golden samples."""
