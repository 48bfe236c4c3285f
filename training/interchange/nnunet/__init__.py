"""nnU-Net results, in and out."""
