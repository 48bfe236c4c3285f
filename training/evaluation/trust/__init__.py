"""What a package says of its own masks: predicted Dice, its error, calibration, under shift too."""
