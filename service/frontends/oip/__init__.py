"""KServe's Open Inference Protocol v2 over REST, as Triton's clients speak it; not over gRPC."""
