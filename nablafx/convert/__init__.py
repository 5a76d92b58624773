"""From the published framework to this one: configs and checkpoints."""
