"""Windows cut out, logits blended back."""
