"""How far a mask can be trusted: expected Dice, entropy, disagreement, familiarity."""
