"""Benchmarks: one command each, JSON and a readable table; never part of the test suite."""
