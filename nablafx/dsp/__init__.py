"""Pure functions on tensors: the signal processing beneath the models."""
