"""What shortcuts do, measured and drawn: ``python -m training.studies depth`` and others.

Networks, data and steps are small, so that a study takes minutes on two cores: what they show is
the sign and the shape of an effect, not its size in a network that was trained for days.
"""
