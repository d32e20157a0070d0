"""Offline: builds and tunes the vector index of a training run or of a bundle."""
