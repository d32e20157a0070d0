"""Data sets: the canonical form, loaders, splits, a simulator, and the plain baselines."""
