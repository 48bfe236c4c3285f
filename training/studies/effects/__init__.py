"""One module an effect: what is trained for it, what is measured, how it is drawn and told."""
