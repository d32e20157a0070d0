"""The online service: HTTP, the cascade, time and metrics."""
