"""Names that a plan and a command line may give; light, so that ``--help`` answers at once."""

from typing import Literal

AugmentationPreset = Literal["none", "light", "robust", "medical", "microscopy", "strong"]
LossName = Literal["dice_ce", "dice_focal", "tversky", "boundary", "cldice"]
OptimiserName = Literal["adamw", "sgd"]
ScheduleName = Literal["poly", "cosine"]
PrecisionName = Literal["float32", "bfloat16", "float16"]
InstancesName = Literal["none", "border", "distance", "auto"]
TrackerName = Literal["mlflow", "wandb"]
AugmentationPlace = Literal["host", "device"]
CompilationName = Literal["none", "kernels", "graphs"]
VariantPrecision = Literal["float32", "tf32", "float16", "int8"]
NnunetPreset = Literal["resunet-m", "resunet-l", "resunet-xl"]
"""For which there are rules of nnU-Net."""
