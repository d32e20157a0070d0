"""From a training run to a bundle that can be served."""
