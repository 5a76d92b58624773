"""Training: the system, its losses and metrics, callbacks and the sinks that logs go to."""
