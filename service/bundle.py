"""A bundle in memory."""
