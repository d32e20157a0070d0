"""Candidate retrieval, numpy in and numpy out: clusters and interests, item lists, vector and text search."""
