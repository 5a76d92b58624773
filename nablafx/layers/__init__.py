"""Layers of the black-box networks. Each owns weights; the caller owns state."""
