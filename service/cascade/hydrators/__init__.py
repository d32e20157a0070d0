"""User-side arithmetic, done once per request."""
