"""Networks of other libraries, and one's own, by name: segmentation-models-pytorch, timm, MONAI."""
