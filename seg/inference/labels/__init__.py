"""From logits to labels: decision, selection, postprocessing."""
