"""Prepared cases, augmentation, batches of patches."""
