"""Ranking of candidates, numpy in and numpy out: pre-ranker, ranker, calibration, diversity."""
