"""The loss: Dice and cross-entropy, at every resolution that the network answers in."""

from monai.losses import DeepSupervisionLoss, DiceCELoss


def dice_and_cross_entropy() -> DeepSupervisionLoss:
    """Batch Dice over the foreground classes plus cross-entropy, halved a level of resolution.

    Source: Isensee et al., nnU-Net, Nature Methods 18 (2021).
    """
    loss = DiceCELoss(
        to_onehot_y=True, softmax=True, include_background=False, batch=True,
        smooth_nr=1e-5, smooth_dr=1e-5,
    )  # fmt: skip
    return DeepSupervisionLoss(loss, weight_mode="exp")
