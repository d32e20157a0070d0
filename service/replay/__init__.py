"""Evaluation: past requests through the cascade that serves. Nothing online imports this package."""
