"""Feature schema, encoding and bundle files, shared by training and serving; the offline half below."""
