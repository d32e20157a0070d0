"""The HTTP side: one file per resource, their schemas, and the one table of errors."""
